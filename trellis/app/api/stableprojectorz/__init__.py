"""The routes of the StableProjectorz servers: for its desktop client and for scripts made for them."""
