"""The server's interface for programs: jobs by id, and the routes of the StableProjectorz servers."""

from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings

__all__ = ["ApiSettings", "create_api"]
