"""What a request gets that is refused: a status, and words in which nothing comes from the request."""

from __future__ import annotations

from fastapi.responses import JSONResponse


class RefusedError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, reason: str, error: str, remedy: str, **headers: str) -> None:
        super().__init__(error)
        self.status, self.reason, self.error, self.remedy = status, reason, error, remedy
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self) -> JSONResponse:
        """What the sender gets; nothing in it comes from the request."""
        return JSONResponse({"error": self.error, "remedy": self.remedy}, self.status, self.headers)
