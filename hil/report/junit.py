"""JUnit XML: a test suite a run, a test case a scenario, its failed checks as one failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from hil.rig.result import Result


def write(path: Path, results: Sequence[Result]) -> None:
    suite = Xml.Element(
        "testsuite",
        name="edgebms.rig",
        tests=str(len(results)),
        failures=str(sum(result.verdict == "fail" for result in results)),
        errors="0",
        skipped=str(sum(result.verdict in ("skip", "known") for result in results)),
        time=f"{sum(result.run.wall_s for result in results):.3f}",
    )
    for result in results:
        case = Xml.SubElement(suite, "testcase", classname="scenarios", name=result.name, time=f"{result.run.wall_s:.3f}")
        properties = Xml.SubElement(case, "properties")
        Xml.SubElement(properties, "property", name="seed", value=str(result.run.seed))
        for requirement in result.run.scenario.requirements:
            Xml.SubElement(properties, "property", name="requirement", value=requirement)
        if result.skipped:
            Xml.SubElement(case, "skipped", message=result.skipped)
        wrong = result.wrong
        if result.verdict == "known":
            Xml.SubElement(
                case, "skipped", message="fails as known: " + "; ".join(f"{check.asked}: {check.known}" for check in result.gaps)
            )
        elif wrong:
            failure = Xml.SubElement(case, "failure", message=f"{wrong[0].asked}: {wrong[0].says}")
            failure.text = "\n".join(f"{check.asked}: {check.says}" for check in wrong)
        Xml.SubElement(case, "system-out").text = "\n".join(
            f"{'pass' if check.passed else 'known' if check.known else 'FAIL'}  {check.asked}: {check.says}" for check in result.checks
        )
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    Xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
