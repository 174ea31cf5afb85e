// Which frame is shown: the slider, the buttons and the keys.

class Player {
  constructor(count, describe) {
    this.count = count;
    this.frame = 0;
    this.describe = describe;
    this.listeners = [];
    this.rate = 20;
    this.playing = false;
    this.element = this.#controls();
  }

  onframe(listener) {
    this.listeners.push(listener);
  }

  go(frame) {
    this.frame = Math.max(0, Math.min(this.count - 1, frame));
    const text = this.describe(this.frame);
    this.slider.value = this.frame;
    this.slider.setAttribute("aria-valuetext", text);
    this.readout.textContent = text;
    for (const listener of this.listeners) listener(this.frame);
  }

  toggle() {
    this.playing = !this.playing;
    this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.button.classList.toggle("playing", this.playing);
    if (!this.playing) return;
    if (this.frame === this.count - 1) this.go(0);
    this.last = performance.now();
    requestAnimationFrame((now) => this.#tick(now));
  }

  stop() {
    if (this.playing) this.toggle();
  }

  /** Space plays, arrows step, Home and End jump; true if the key was one of these. */
  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (event.key === " ") this.toggle();
    else if (event.key in steps) this.go(this.frame + steps[event.key]);
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.count - 1);
    else return false;
    event.preventDefault();
    return true;
  }

  #tick(now) {
    if (!this.playing || !this.element.isConnected) return;
    const steps = Math.floor(((now - this.last) / 1000) * this.rate);
    if (steps > 0) {
      this.last = now;
      // A slow machine shows every frame, a little later, rather than every third.
      this.go(this.frame + 1 >= this.count ? 0 : this.frame + Math.min(steps, 1 + Math.floor(this.rate / 40)));
    }
    requestAnimationFrame((next) => this.#tick(next));
  }

  #controls() {
    const icon = makeSvg("svg", { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true" },
      makeSvg("path", { class: "icon-play", d: "M5 3l12 7-12 7z", fill: "currentColor" }),
      makeSvg("path", { class: "icon-pause", d: "M5 3h4v14H5zM11 3h4v14h-4z", fill: "currentColor" }));
    this.button = make("button", { type: "button", class: "play", "aria-label": "Play", onclick: () => this.toggle() }, icon);
    this.slider = make("input", {
      type: "range", min: 0, max: this.count - 1, step: 1, value: 0, "aria-label": "Frame",
      oninput: () => this.go(Number(this.slider.value)),
    });
    this.readout = make("output", { class: "readout" });
    const rates = [["5", "5 frames/s"], ["10", "10 frames/s"], ["20", "20 frames/s"], ["60", "60 frames/s"]];
    const speed = choice("Speed", rates, "20", (value) => { this.rate = Number(value); });
    return make("div", { class: "player", role: "group", "aria-label": "Playback" }, this.button, this.slider, this.readout, speed);
  }
}
