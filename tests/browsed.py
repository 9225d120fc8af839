"""Every page of a built book as a browser shows it: one Chromium opens them one after the other."""

import functools
import json
import queue
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

#: Comes before all other scripts of a page.
_WATCH = """<script>
window.errors = [];
addEventListener("error", (e) => errors.push(e.message || `not loaded: ${e.target.src || e.target.href}`), true);
addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
console.error = (...told) => errors.push(told.join(" "));
</script>"""
#: Opens each page in a frame, gives it each width, and sends what it found.
_TOUR = """<!doctype html><body><script>
const until = (test) => new Promise((done) => {
  const wait = () => { if (test()) done(); else setTimeout(wait, 20); };
  wait();
});
const visit = async (page) => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `border: 0; height: 900px; width: ${WIDTHS[0]}px`;
  frame.src = `${page}?watched`;
  const loaded = new Promise((done) => { frame.onload = done; });
  document.body.append(frame);
  await loaded;
  const inside = frame.contentWindow, root = frame.contentDocument.documentElement;
  if (root.querySelector("script[src*=mathjax]")) await until(() => inside.MathJax?.startup?.promise);
  await inside.MathJax?.startup?.promise;
  const widths = {};
  for (const width of WIDTHS) {
    frame.style.width = `${width}px`;
    await new Promise((done) => setTimeout(done, 60));
    widths[width] = [root.scrollWidth, root.clientWidth];
  }
  const { title, body } = frame.contentDocument;
  const text = (body.querySelector("main") ?? body).textContent;
  const found = { errors: inside.errors, widths, title, text, html: body.innerHTML };
  frame.remove();
  return [page, found];
};
(async () => {
  const found = {};
  for (const page of PAGES) {
    const [name, seen] = await visit(page).catch((error) => [page, { errors: [String(error)], widths: {}, text: "" }]);
    found[name] = seen;
  }
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
})();
</script></body>"""


def tour(chromium, folder, pages, widths=(1400, 390), seconds=600):
    """Return of each page its script errors, title, text and HTML, and by width of the window [of content, of view]."""
    found = queue.Queue()
    start = f"<script>const PAGES = {json.dumps(pages)}, WIDTHS = {json.dumps(widths)};</script>{_TOUR}"

    class Handler(SimpleHTTPRequestHandler):
        """Serves the folder; pages are watched."""

        def do_GET(self):
            path = self.path.partition("?")[0].lstrip("/")
            if path != "tour" and not self.path.endswith("?watched"):
                return super().do_GET()
            html = start if path == "tour" else (folder / path).read_text().replace("<head>", f"<head>{_WATCH}", 1)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())
            return None

        def do_POST(self):
            found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [*chromium, "--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/tour"]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return found.get(timeout=seconds)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
