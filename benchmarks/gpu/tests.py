"""Run the tests that need a GPU."""

import subprocess
import sys
import xml.etree.ElementTree as ET

from benchmarks.gpu.part import ROOT, Part


def main() -> int:
    """Run the tests; return pytest's exit code."""
    part = Part.of_arguments()
    report = part.scratch / "tests.xml"
    place = "tests/gpu" if part.device == "cuda" else "tests/gpu/test_without_gpu.py"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu or not gpu", place]
    code = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, check=False).returncode
    cases = ET.parse(report).getroot().findall(".//testcase")
    bad = [case.get("name") for case in cases if case.find("failure") is not None]
    bad += [case.get("name") for case in cases if case.find("error") is not None]
    line = f"{len(cases) - len(bad)} of {len(cases)} passed; failed: {', '.join(map(str, bad))}"
    part.write("tests", line, passed=len(cases) - len(bad), failed_tests=bad)
    return code


if __name__ == "__main__":
    sys.exit(main())
