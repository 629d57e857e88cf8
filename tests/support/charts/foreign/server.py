"""Serves what a container sees of itself, with nothing but the standard library; /unready makes it unready."""

import http.server
import json
import os
import pathlib
import socket
import ssl
import sys
import urllib.error
import urllib.request

ACCOUNT = pathlib.Path(os.environ.get("ACCOUNT_FOLDER", "/var/run/secrets/kubernetes.io/serviceaccount"))
state = {"ready": True}


def ask(path):
    """Status of a request to the API server with the container's own token."""
    request = urllib.request.Request(
        f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def facts():
    namespace = (ACCOUNT / "namespace").read_text()
    release = os.environ["POD_NAME"].rsplit("-web-", 1)[0]
    return {
        "greeting": pathlib.Path("/settings/greeting.txt").read_text(),
        "prepared": pathlib.Path("/scratch/prepared.txt").read_text(),
        "word": os.environ["WORD"],
        "mark": os.environ["MARK"],
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "own address": socket.gethostbyname(socket.gethostname()),
        "namespace": namespace,
        "configmap": ask(f"/api/v1/namespaces/{namespace}/configmaps/{release}"),
        "secret": ask(f"/api/v1/namespaces/{namespace}/secrets/{release}"),
        "foreign secret": ask("/api/v1/namespaces/kube-system/secrets"),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code, body = 200, "ok"
        if self.path == "/ready":
            code = 200 if state["ready"] else 503
        elif self.path == "/facts":
            body = json.dumps(facts())
        elif self.path in ("/be-ready", "/be-unready"):
            state["ready"] = self.path == "/be-ready"
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


sys.stdout.write(f"serving on {sys.argv[1]}\n")
sys.stdout.flush()
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
