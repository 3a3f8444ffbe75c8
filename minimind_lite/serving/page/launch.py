"""Start the page in Streamlit's own server, on an address of this machine unless visitors need a key."""

import socket
from pathlib import Path

try:
    from streamlit.web import bootstrap
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the chat page needs the package {error.name}: pip install 'minimind-lite[webui]'", name=error.name
    ) from error

from minimind_lite.serving.guard import check_address
from minimind_lite.serving.models import ServingError
from minimind_lite.serving.page.options import PageOptions, configure

SCRIPT = Path(__file__).with_name("script.py")
# Nothing is reported to anybody, no address is looked up, no file is watched; errors are for this machine's terminal.
STREAMLIT = {
    "global_developmentMode": False,  # which Streamlit guesses from the folder it is installed in
    "browser_gatherUsageStats": False,
    "server_headless": True,
    "server_fileWatcherType": "none",
    "server_runOnSave": False,
    "logger_hideWelcomeMessage": True,
    "client_toolbarMode": "viewer",
    "client_showErrorDetails": "none",
    "theme_primaryColor": "#1f5fbf",
    "theme_baseRadius": "0.5rem",
}


def free_port(host: str, port: int) -> int:
    """``port`` if it can be had, a free one for 0. Raises ServingError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServingError(
                f"cannot listen on {host} port {port} ({error.strerror or error}): choose another port, or 0 for a "
                "free one"
            ) from error
        return int(probe.getsockname()[1])


def run_page(options: PageOptions, host: str, port: int) -> None:
    """Serve the page until it is stopped (Ctrl-C or SIGTERM). Raises ServingError for an open address without a key."""
    check_address(host, options.keys)
    configure(options)
    flags = {**STREAMLIT, "server_address": host, "server_port": port}
    bootstrap.load_config_options(flags)
    bootstrap.run(str(SCRIPT), False, [], flags)
