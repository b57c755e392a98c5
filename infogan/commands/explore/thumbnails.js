// A click on a thumbnail selects the image of that number.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button === null) return;
  for (const other of element.querySelectorAll("button[data-index]")) {
    other.setAttribute("aria-pressed", other === button);
  }
  trigger("select", { index: Number(button.dataset.index), value: button.textContent });
});
