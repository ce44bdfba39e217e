// A headset's controller or a phone as a hand: WebXR poses, counted from where the clutch was closed.
// WebXR: x right, y up, z towards the viewer. Robot: x forward, y left, z up. Forward is where the viewer looked
// when the clutch closed.
const SILENT_MS = 100;

export class Headset {
  constructor(button) {
    this.session = null;
    this.space = null;
    this.pose = null;
    this.engaged = false;
    this.jaw = null;
    this.start = null;
    this.clutch = 0; // how often it was closed
    this.touched = false;
    this.seen = 0; // when the device last told where it is, ms
    this.button = button;
    this.kind = null;
    if (navigator.xr) this.#offer();
  }

  async #offer() {
    for (const kind of ["immersive-ar", "immersive-vr"]) {
      if (await navigator.xr.isSessionSupported(kind).catch(() => false)) { this.kind = kind; break; }
    }
    if (!this.kind) return;
    this.button.hidden = false;
    this.button.onclick = () => (this.session ? this.session.end() : this.#begin());
  }

  async #begin() {
    const options = { optionalFeatures: ["local-floor", "dom-overlay"], domOverlay: { root: document.body } };
    const session = await navigator.xr.requestSession(this.kind, options);
    const canvas = document.createElement("canvas"), gl = canvas.getContext("webgl", { xrCompatible: true });
    session.updateRenderState({ baseLayer: new XRWebGLLayer(session, gl) });
    this.space = await session.requestReferenceSpace("local-floor").catch(() => session.requestReferenceSpace("local"));
    this.space.onreset = () => { this.engaged = false; }; // recentred: all poses jump, the arm does not
    this.session = session;
    this.button.textContent = "leave headset";
    session.onend = () => { this.session = null; this.pose = null; this.engaged = false; this.start = null; this.button.textContent = "use headset or phone"; };
    session.onselectstart = (e) => { if (!e.inputSource.gamepad) this.touched = true; };
    session.onselectend = (e) => { if (!e.inputSource.gamepad) this.touched = false; };
    const each = (time, frame) => {
      if (!this.session) return;
      session.requestAnimationFrame(each);
      this.#look(frame);
    };
    session.requestAnimationFrame(each);
  }

  #look(frame) {
    const hand = [...this.session.inputSources].find((s) => s.gripSpace && s.gamepad && s.handedness !== "left") ||
      [...this.session.inputSources].find((s) => s.gripSpace && s.gamepad);
    const viewer = frame.getViewerPose(this.space);
    let pose = null, engaged = false;
    this.seen = performance.now();
    if (hand) {
      const found = frame.getPose(hand.gripSpace, this.space);
      pose = found && !found.emulatedPosition ? found.transform : null; // lost from sight, it is guessed: no hand
      engaged = !!hand.gamepad.buttons[1]?.pressed; // the squeeze: a clutch and a dead-man
      this.jaw = 1 - (hand.gamepad.buttons[0]?.value ?? 0);
    } else if (viewer) { // a phone: its own pose, while the screen is touched
      pose = viewer.transform;
      engaged = this.touched;
    }
    if (pose && engaged && !this.engaged) {
      const { x, y, z, w } = (viewer || { transform: pose }).transform.orientation;
      const yaw = Math.atan2(2 * (w * y + x * z), 1 - 2 * (y * y + x * x));
      this.start = { position: pose.position, orientation: pose.orientation, yaw };
      this.clutch += 1;
    }
    this.pose = pose;
    this.engaged = engaged && !!pose;
  }

  jog() {
    if (!this.session) return null;
    // Taken off, or a menu in front: no poses come. Whoever comes back closes the clutch anew, from where the hand is.
    if (performance.now() - this.seen > SILENT_MS) this.engaged = false;
    if (!this.engaged || !this.start || !this.pose) return { engaged: false, ...(this.jaw === null ? {} : { width: this.jaw }) };
    const from = this.start, p = this.pose.position;
    const moved = [p.x - from.position.x, p.y - from.position.y, p.z - from.position.z];
    const turned = vector(times(this.pose.orientation, inverse(from.orientation)));
    return { engaged: true, clutch: this.clutch, moved: toRobot(moved, from.yaw), turned: toRobot(turned, from.yaw), ...(this.jaw === null ? {} : { width: this.jaw }) };
  }
}

function toRobot([x, y, z], yaw) {
  const c = Math.cos(-yaw), s = Math.sin(-yaw); // turn back by the viewer's yaw about y
  const right = c * x + s * z, back = -s * x + c * z;
  return [-back, -right, y];
}

const inverse = (q) => ({ x: -q.x, y: -q.y, z: -q.z, w: q.w });
const times = (a, b) => ({
  w: a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
  x: a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
  y: a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
  z: a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
});

function vector(q) { // rotation vector of a unit quaternion, the short way
  const sign = q.w < 0 ? -1 : 1, length = Math.hypot(q.x, q.y, q.z);
  const scale = length < 1e-9 ? 2 : (2 * Math.atan2(length, sign * q.w)) / length;
  return [sign * q.x * scale, sign * q.y * scale, sign * q.z * scale];
}
