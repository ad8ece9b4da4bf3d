"""Take the README's pictures of a real run: ``python -m lab.pictures``. The demo's plan is approved in the browser."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from lab.demo.__main__ import show, start
from lab.demo.patients import patient
from lab.demo.screen import Screen
from lab.installation import Installation
from lab.prefect_ui import PrefectUi, chromium

IMAGES = Path(__file__).parent.parent / "docs" / "images"
FORM_HEIGHT = 1150
RUN_HEIGHT = 760


class _Recorded(Screen):
    """A terminal of 110 columns whose picture ends where the report begins."""

    def __init__(self) -> None:
        super().__init__(Console(record=True, width=110, file=io.StringIO(), force_terminal=True, highlight=False))

    def report(self, text: str) -> None:
        """The report is in the browser."""
        self.console.save_svg(str(IMAGES / "demo.svg"), title="make demo", theme=MONOKAI)
        super().report(text)


def main() -> int:
    """Takes all pictures anew."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with patient() as sick, Installation(prefix="nightshift-pictures-") as lab, chromium() as browser:

        def approve(installation: Installation, incident: int, _digest: str, _screen: Screen) -> None:
            installation.wait(lambda: installation.flow_run(incident)["state"]["name"] == "Suspended", "suspension")
            form = PrefectUi(browser, installation.prefect_ui, height=FORM_HEIGHT)
            form.open_run(installation.flow_run(incident)["id"])
            form.open_form()
            form.fill(decision="approve", name="Ada Lovelace", comment="The core dumps are looked at.")
            form.picture_of(form.form.locator(".p-modal__card"), IMAGES / "approval-form.png")
            form.submit(decision="approve", name="Ada Lovelace", comment="The core dumps are looked at.")

        screen = _Recorded()
        start(lab, sick, screen)
        show(lab, sick, screen, approve)
        run = PrefectUi(browser, lab.prefect_ui, width=1180, height=RUN_HEIGHT)
        run.open_run(lab.flow_run(max(row.id for row in lab.ledger.incidents.list()))["id"])
        run.wait_until_drawn()
        run.picture_of(run.page.locator("body"), IMAGES / "flow-run.png")
    for picture in sorted(IMAGES.iterdir()):
        print(f"{picture}: {picture.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
