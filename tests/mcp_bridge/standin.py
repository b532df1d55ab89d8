"""A gateway in the least: writes itself down in its home, answers /healthz, and one MCP answer.

Run as a command by the tests of the relay. Notes its starts; with the word `broken` it ends at once,
with `stuck` it never answers, with `second` it ends when the home is another's.
"""

import fcntl
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "t" * 43


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"error": {"message": "no"}})
            return
        message: dict[str, Any] = json.loads(body)
        result = {"pid": os.getpid(), "method": message["method"]}
        self._answer(200, {"jsonrpc": "2.0", "id": message.get("id"), "result": result})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    home = Path(os.environ["A2A_GATEWAY_HOME"])
    with (home / "starts").open("a", encoding="utf-8") as starts:
        starts.write(f"{os.getpid()} {os.getsid(0)} {os.environ['A2A_GATEWAY_IDLE_EXIT_S']}\n")
    if sys.argv[1:] == ["broken"]:
        sys.exit("no database")
    if sys.argv[1:] == ["stuck"]:
        signal.sigwait({signal.SIGTERM})
        return
    if sys.argv[1:] == ["second"]:
        with (home / "home.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    token = home / "token"
    token.write_text(TOKEN, "utf-8")
    token.chmod(0o600)
    published = home / "gateway.json.new"
    published.write_text(
        json.dumps(
            {
                "url": f"http://127.0.0.1:{server.server_port}",
                "pid": os.getpid(),
                "token_file": str(token),
            }
        ),
        "utf-8",
    )
    published.chmod(0o600)
    published.replace(home / "gateway.json")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
