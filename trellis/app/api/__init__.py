"""The server's interface for programs: jobs by id, and the routes of the StableProjectorz servers."""
