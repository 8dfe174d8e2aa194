// The file of a recording, read from its beginning on in pieces: see services/recordingfile.py for what is in it.

const MAGIC = [0x77, 0x76, 0x72, 0x65, 0x63, 0, 0, 1];
const HEAD = 8;
const PIECE = 1024 * 1024;

/** `frame` is the one that `take` gives next, null at the end; a recording that is still written ends where it is now. */
export class RecordingFile {
  constructor(address) {
    this.address = address;
  }

  /** Stand before the first frame. Throws what `fetch` does, and Error for an answer that is none. */
  async rewind() {
    this.stop?.abort();
    this.stop = new AbortController();
    this.at = 0;
    this.rest = new Uint8Array();
    this.coming = null;
    this.isOver = false;
    if (await this.has(MAGIC.length)) {
      if (MAGIC.some((byte, at) => this.rest[at] !== byte)) throw new Error("no recording");
      this.rest = this.rest.subarray(MAGIC.length);
    }
    await this.look();
  }

  /** The next frame: `{ at, data }` with the milliseconds since the beginning. */
  async take() {
    const { frame } = this;
    await this.look();
    return frame;
  }

  async look() {
    this.frame = null;
    if (!(await this.has(HEAD))) return;
    const head = new DataView(this.rest.buffer, this.rest.byteOffset, HEAD);
    const [at, length] = [head.getUint32(0), head.getUint32(4)];
    // A frame that is not all there is the last one, torn.
    if (!(await this.has(HEAD + length))) return;
    this.frame = { at, data: this.rest.slice(HEAD, HEAD + length) };
    this.rest = this.rest.subarray(HEAD + length);
  }

  /** Whether so many bytes are there, after waiting for them. */
  async has(count) {
    while (this.rest.length < count && !this.isOver) {
      const piece = await (this.coming ?? this.fetch());
      this.coming = this.isOver ? null : this.fetch();
      // Whoever rewinds or leaves meanwhile does not wait for it.
      this.coming?.catch(() => {});
      const joined = new Uint8Array(this.rest.length + piece.length);
      joined.set(this.rest);
      joined.set(piece, this.rest.length);
      this.rest = joined;
    }
    return this.rest.length >= count;
  }

  async fetch() {
    const { stop } = this;
    const range = `bytes=${this.at}-${this.at + PIECE - 1}`;
    const answer = await fetch(this.address, { headers: { Range: range }, signal: stop.signal, cache: "no-store" });
    if (![206, 416].includes(answer.status)) throw new Error(`${answer.status} ${answer.statusText}`);
    // Beyond the end there is nothing.
    const piece = new Uint8Array(answer.status === 206 ? await answer.arrayBuffer() : 0);
    // What was asked for before somebody went back is not what comes next.
    stop.signal.throwIfAborted();
    this.at += piece.length;
    this.isOver = piece.length < PIECE;
    return piece;
  }

  close() {
    this.stop?.abort();
  }
}
