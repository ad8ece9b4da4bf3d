"""What archiving rows really did, in words: what the volume has again is not what the table may use again."""

from __future__ import annotations

from nightshift.remediation.models import Value, format_bytes
from nightshift.remediation.text import counted, printable


class RowsArchived(Value):
    """The measured effect of one ``archive_rows`` action."""

    rows: int
    in_archive: int = 0
    """Rows in its folder: more than ``rows`` when an interrupted attempt began it."""
    files: int
    archive: str
    """Folder of its files and manifests, on the worker."""
    left: str = ""
    """Why old rows are left, where there are."""
    table_bytes_before: int
    table_bytes_after: int
    free_inside: int | None = None
    """Bytes the free space map of the table offers to new rows; None where it cannot be read."""
    vacuum_trouble: str = ""

    @property
    def returned(self) -> int:
        """Bytes the volume has again."""
        return max(0, self.table_bytes_before - self.table_bytes_after)

    @property
    def summary(self) -> str:
        """For the journal and the report."""
        if not self.rows:
            return f"no row was old enough and free to go{f': {self.left}' if self.left else ''}"
        sentences = [
            f"{counted(self.rows, 'row')} archived in {counted(self.files, 'file')}, read back, then deleted",
            f"the archive is {printable(self.archive)}",
            f"the volume has {format_bytes(self.returned)} more",
            self._room(),
        ]
        if self.vacuum_trouble:
            sentences.append(f"vacuum did not end well: {printable(self.vacuum_trouble)}")
        if self.left:
            sentences.append(f"old rows are left: {self.left}")
        return "; ".join(sentences)

    def _room(self) -> str:
        if self.free_inside is not None:
            return f"{format_bytes(self.free_inside)} inside the table are free for new rows"
        return "the rest of their space stays in the table, free for new rows"
