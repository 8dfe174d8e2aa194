// A recorded screen: noVNC on a stand-in of a socket, which is fed from the recording and swallows what noVNC says.

import RFB from "../novnc/core/rfb.js";
import { gettext, Replay } from "./replay.js";

/** As much of a WebSocket as noVNC asks for. */
class Tape {
  binaryType = "arraybuffer";
  protocol = "binary";
  readyState = WebSocket.OPEN;
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;

  send() {}

  close() {
    if (this.readyState === WebSocket.CLOSED) return;
    this.readyState = WebSocket.CLOSED;
    queueMicrotask(() => this.onclose?.({ code: 1000, reason: "", wasClean: true }));
  }
}

class ReplayedScreen extends Replay {
  constructor(root) {
    super(root);
    this.open();
  }

  restart() {
    this.rfb?.disconnect();
    this.tape = new Tape();
    // A display with a password was opened with it; whatever is said now is not heard.
    this.rfb = new RFB(this.screen, this.tape, { shared: true, credentials: { password: "recorded" } });
    this.rfb.background = "transparent";
    this.rfb.viewOnly = true;
    this.rfb.focusOnClick = false;
    this.rfb.scaleViewport = true;
    this.rfb.addEventListener("disconnect", (event) => {
      if (!event.detail.clean) this.fail(new Error(gettext("What follows is no picture that can be shown.")));
    });
  }

  async show(data) {
    this.tape.onmessage({ data });
    await this.drawn();
  }

  /** Its own queue is bounded, and it reads no further while pictures are decoded; with a socket, the network would wait. */
  async drawn() {
    while (this.rfb._flushing) await new Promise((done) => setTimeout(done, 0));
  }

  async settle() {
    await this.drawn();
    await this.rfb._display.flush();
  }
}

for (const root of document.querySelectorAll('[data-replay="screen"]')) new ReplayedScreen(root);
