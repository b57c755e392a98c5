"""A real headless browser on a page of the explorer."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1300,1000",
)


VISIBLE = (
    "const seen = [...document.querySelectorAll(arguments[0])]"
    ".filter((e) => e.offsetParent !== null || e.closest('.toast-wrap'));"
)


class Browser:
    """Chromium with a profile of its own, and what a person does with it.

    Args:
        folder: Where the profile and downloads go.
    """

    def __init__(self, folder: Path) -> None:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        options.binary_location = str(CHROMIUM)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        self.driver.execute_cdp_cmd(
            "Page.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(self.downloads)},
        )

    def open(self, url: str) -> None:
        """Load a page and wait until it has drawn its picture."""
        self.driver.get(url)
        self.find("#picture img")

    def wait(self, question: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Ask until the answer is true, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := question():
                return answer
            time.sleep(0.02)
        raise AssertionError(f"{what} did not happen in {seconds} s")

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that a person sees."""
        return self.driver.execute_script(VISIBLE + "return seen", selector)

    def find(self, selector: str) -> WebElement:
        """Return the first such element that a person sees, when there is one."""
        return self.wait(lambda: self.all(selector), selector)[0]

    def tabs(self) -> list[str]:
        """Return the titles of the tabs in sight."""
        return [tab.text for tab in self.all("button[role=tab]")]

    def tab(self, title: str) -> None:
        """Open a tab."""
        tabs = self.wait(
            lambda: [t for t in self.all("button[role=tab]") if t.text == title], title
        )
        tabs[0].click()

    def source(self, selector: str) -> str:
        """Return the address of an image in sight, which holds its pixels."""
        return self.driver.execute_script(VISIBLE + "return seen[0]?.src ?? ''", f"{selector} img")

    def sources(self, selector: str) -> list[str]:
        """Return the addresses of all images in sight."""
        script = VISIBLE + "return seen.map((image) => image.src)"
        return self.driver.execute_script(script, f"{selector} img")

    def changed(self, selector: str, act: Callable[[], Any]) -> str:
        """Act, and return the image's address when it has become another."""
        before = self.source(selector)
        act()
        self.wait(lambda: self.source(selector) not in ("", before), f"a new {selector}")
        return self.source(selector)

    def upload(self, path: Path) -> str:
        """Give a file to the page; return the message, or an empty text when it is read."""
        self.driver.execute_script(
            "for (const e of document.querySelectorAll('.message, .seen')) e.dataset.old = 1;"
            "for (const e of document.querySelectorAll('.toast-close')) e.click();"
        )
        self.wait(lambda: not self.all(".toast-body"), "the end of an old message")
        field = "#upload input[type=file]"
        self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, field), field)
        self.driver.find_element(By.CSS_SELECTOR, field).send_keys(str(path))
        answer = ".message:not([data-old]), .seen:not([data-old]), .toast-body"
        # In one step, since the page may replace what has been found.
        text = "return seen.map((e) => (e.className === 'seen' ? 'read' : e.innerText))[0]"
        found = self.wait(
            lambda: self.driver.execute_script(VISIBLE + text, answer), f"an answer to {path.name}"
        )
        return "" if found == "read" else found

    def events(self) -> list[dict[str, Any]]:
        """Return what the browser did since the last call."""
        return [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call."""
        sent = [e for e in self.events() if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def errors(self) -> list[str]:
        """Return the errors of the page since the last call.

        Gradio asks how far an upload is, and reports it as an error if that has already ended.
        """
        severe = [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]
        return [text for text in severe if not re.search(r"/upload_progress\?|\d Response$", text)]
