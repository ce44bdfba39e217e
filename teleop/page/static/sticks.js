// Two sticks, two sliders, a dead-man and a jaw, for fingers and mice. Axes of the robot: x forward, y left, z up.
export class Sticks {
  constructor(root) {
    this.root = root;
    this.at = { plane: [0, 0], lift: [0, 0], tilt: [0, 0], roll: [0, 0] };
    this.held = false;
    this.jaw = null; // as it stands until somebody moves the slider
    for (const name of Object.keys(this.at)) this.#stick(root.querySelector(`#${name}`), name);
    const deadman = root.querySelector("#deadman");
    const hold = (held) => { this.held = held; deadman.classList.toggle("held", held); };
    deadman.addEventListener("pointerdown", (e) => { deadman.setPointerCapture(e.pointerId); hold(true); e.preventDefault(); });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) deadman.addEventListener(end, () => hold(false));
    deadman.addEventListener("contextmenu", (e) => e.preventDefault());
    deadman.addEventListener("keydown", (e) => { if (e.key === "Enter") hold(true); });
    for (const end of ["keyup", "blur"]) deadman.addEventListener(end, () => hold(false));
    window.addEventListener("keydown", (e) => { if (e.key === "Shift" && !e.repeat && e.target.id !== "words") hold(true); }); // beside a mouse
    window.addEventListener("keyup", (e) => { if (e.key === "Shift") hold(false); });
    root.querySelector("#jaw").addEventListener("input", (e) => { this.jaw = Number(e.target.value); });
    window.addEventListener("blur", () => hold(false));
    document.addEventListener("visibilitychange", () => { if (document.hidden) hold(false); });
  }

  #stick(element, name) {
    const knob = element.querySelector("i"), thin = element.classList.contains("thin");
    const set = (x, y) => {
      this.at[name] = [x, y];
      const box = element.getBoundingClientRect();
      knob.style.transform = `translate(${x * box.width * 0.32}px, ${y * box.height * 0.32}px)`;
    };
    const move = (e) => {
      const box = element.getBoundingClientRect();
      let x = (e.clientX - box.left - box.width / 2) / (box.width * 0.38), y = (e.clientY - box.top - box.height / 2) / (box.height * 0.38);
      if (thin) x = 0;
      const length = Math.hypot(x, y);
      if (length > 1) { x /= length; y /= length; }
      set(x, y);
    };
    element.addEventListener("pointerdown", (e) => { element.setPointerCapture(e.pointerId); move(e); e.preventDefault(); });
    element.addEventListener("pointermove", (e) => { if (element.hasPointerCapture(e.pointerId)) move(e); });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(end, () => set(0, 0));
  }

  jog() {
    const { plane, lift, tilt, roll } = this.at;
    return {
      engaged: this.held,
      linear: [-plane[1], -plane[0], -lift[1]],
      angular: [roll[1], tilt[1], -tilt[0]],
      ...(this.jaw === null ? {} : { width: this.jaw }),
    };
  }
}
