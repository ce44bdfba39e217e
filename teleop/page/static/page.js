// The operator's page: shows what comes, newest first, and tells what the hand asks for while it is heard.
import { Sticks } from "./sticks.js";
import { Headset } from "./headset.js";

const $ = (id) => document.getElementById(id);
const STALE_MS = 500;
const JOG_MS = 25;   // between two words of the hand; the robot stops 100 ms after the last
const frames = new Map(); // camera -> { figure, image, url }
const LABELS = { "3d": ["as measured", "the arms as measured; drag to turn"], "@starts": ["starts of episodes", "seen from above, a dot for each episode"] };
const rows = new Map(); // joint -> its line
let state = "", socket = null, lastState = 0, usesHand = false, audio = null, wasClamped = false;

const sticks = new Sticks($("hand"));
const headset = new Headset($("xr"));

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws${location.search}`);
  socket.binaryType = "blob";
  socket.onmessage = ({ data }) => (typeof data === "string" ? take(JSON.parse(data)) : show(data));
  socket.onclose = () => { lost("no link to the robot; it stops by itself"); setTimeout(connect, 1000); };
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 4000) socket.send(JSON.stringify(message));
}

function take(message) {
  if (message.type === "ping") return send({ type: "pong", number: message.number });
  if (message.type !== "state") return;
  lastState = performance.now();
  const s = message.session || {};
  document.body.dataset.mode = s.mode || "none";
  document.body.dataset.state = s.state || "";
  $("mode").textContent = { run: "moving", hold: "holding", park: "parking", fault: "fault", estop: "stopped" }[s.mode] || "waiting";
  if (s.mode === "run" && s.clamped) $("mode").textContent = "held back";
  document.body.classList.toggle("clamped", !!s.clamped);
  $("reason").textContent = s.mode === "run" ? "" : s.reason || "";
  $("rig").textContent = s.rig ? `${s.rig}: ${s.task || s.device || ""}` : "Twinloop";
  $("episode").textContent = s.episode || "";
  $("clock").textContent = s.elapsed_s == null ? "" : time(s.elapsed_s);
  $("rate").textContent = s.rate_hz == null ? "" : `${s.rate_hz.toFixed(1)} Hz${s.late ? `, ${s.late} late` : ""}`;
  const own = message.round_trip_ms == null ? "" : `link ${message.round_trip_ms.toFixed(0)} ms`;
  $("link").textContent = s.operator ? `operator: ${s.operator}` : own;
  $("message").textContent = s.message || "";
  $("statistics").textContent = s.statistics || "nothing recorded";
  state = s.state || "";
  $("disk").textContent = [message.disk_gb == null ? "" : `${message.disk_gb.toFixed(1)} GB free`, s.dropped == null ? "" : `${s.dropped} frames dropped`].filter(Boolean).join(", ");
  $("clamps").classList.toggle("acting", !!s.clamped);
  $("clamped").textContent = s.clamped ? `held back: ${s.clamped}` : "nothing held back";
  $("last").textContent = s.last_clamp ? `last: ${s.last_clamp}` : "";
  if (s.clamped && !wasClamped) beep();
  wasClamped = !!s.clamped;
  usesHand = s.device === "web";
  $("hand").hidden = !usesHand;
  for (const button of document.querySelectorAll("[data-control]")) {
    if (s.controls && button.id !== "estop") button.hidden = !s.controls.includes(button.dataset.control);
  }
  numbers(message);
  for (const [name, camera] of Object.entries(message.cameras || {})) {
    const { figure } = frame(name);
    figure.classList.toggle("stale", camera.age_ms > STALE_MS);
    figure.querySelector(".age").textContent = `${camera.age_ms.toFixed(0)} ms`;
  }
}

function numbers({ arms, grippers }) {
  if (!arms) return;
  for (const [arm, joints] of Object.entries(arms)) {
    for (const j of joints) {
      const place = share(j.q, j.low, j.high), load = Math.min(1, Math.abs(j.tau ?? 0) / j.tau_max);
      const limits = `${degrees(j.low)} to ${degrees(j.high)}, torque ${(j.tau ?? 0).toFixed(2)} of ${j.tau_max.toFixed(2)} N m`;
      row(`${arm}.${j.name}`, j.name, place, load, place < 0.03 || place > 0.97, degrees(j.q), limits, j.temperature);
    }
  }
  for (const [name, g] of Object.entries(grippers || {})) {
    row(name, name, share(g.width, 0, g.widest), Math.min(1, Math.abs(g.force ?? 0) / g.most), false, `${(g.width * 1000).toFixed(0)} mm`, `0 to ${(g.widest * 1000).toFixed(0)} mm, force ${(g.force ?? 0).toFixed(1)} of ${g.most.toFixed(1)} N`, null);
  }
}

const share = (value, low, high) => Math.min(1, Math.max(0, (value - low) / (high - low)));
const degrees = (q) => `${Math.round(q * 180 / Math.PI) || 0}°`; // no -0
const time = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function row(id, name, place, load, near, value, limits, temperature) {
  if (!rows.has(id)) {
    const make = (tag, kind, parent) => { const e = document.createElement(tag); if (kind) e.className = kind; parent.append(e); return e; };
    const line = make("div", "joint", $("numbers"));
    make("span", "", line).textContent = name;
    const bars = make("span", "bars", line), range = make("span", "bar place", bars), torque = make("span", "bar", bars);
    rows.set(id, { line, range, torque, at: make("i", "", range), fill: make("i", "", torque), number: make("span", "number", line) });
  }
  const r = rows.get(id);
  r.range.classList.toggle("near", near);
  r.torque.classList.toggle("near", load > 0.9);
  r.at.style.left = `calc(${(100 * place).toFixed(1)}% - 1px)`;
  r.fill.style.width = `${(100 * load).toFixed(1)}%`;
  r.number.textContent = value;
  r.line.title = temperature == null ? limits : `${limits}, ${temperature.toFixed(0)} °C`;
}

function frame(name) {
  if (!frames.has(name)) {
    const figure = document.createElement("figure"), image = document.createElement("img"), caption = document.createElement("figcaption");
    const label = document.createElement("span"), age = document.createElement("span");
    figure.dataset.name = name;
    if (name === "3d") figure.title = "drag to turn, wheel to come nearer";
    [label.textContent, image.alt] = LABELS[name] ?? [name, `camera ${name}`];
    age.className = "age number";
    caption.append(label, age);
    figure.append(image, caption);
    $("pictures").append(figure);
    if (name === "3d") turnable(image);
    frames.set(name, { figure, image, url: null });
  }
  return frames.get(name);
}

async function show(blob) {
  const head = new Uint8Array(await blob.slice(0, 64).arrayBuffer()), size = head[0];
  const name = new TextDecoder().decode(head.subarray(1, 1 + size)), starts = name === "@starts";
  const entry = frame(name);
  const url = URL.createObjectURL(blob.slice(1 + size, blob.size, starts ? "image/png" : "image/jpeg"));
  entry.image.onload = () => { if (entry.url) URL.revokeObjectURL(entry.url); entry.url = url; };
  entry.image.src = url;
}

function turnable(image) {
  let at = null;
  image.onpointerdown = (e) => { at = [e.clientX, e.clientY]; image.setPointerCapture(e.pointerId); e.preventDefault(); };
  image.onpointerup = () => { at = null; };
  image.onpointermove = (e) => {
    if (!at) return;
    send({ type: "turn", azimuth: (at[0] - e.clientX) * 0.4, elevation: (at[1] - e.clientY) * 0.4, zoom: 1 });
    at = [e.clientX, e.clientY];
  };
  image.onwheel = (e) => { e.preventDefault(); send({ type: "turn", azimuth: 0, elevation: 0, zoom: e.deltaY > 0 ? 1.1 : 1 / 1.1 }); };
}

function beep() {
  try {
    audio ??= new AudioContext();
    const tone = audio.createOscillator(), volume = audio.createGain();
    tone.frequency.value = 440;
    volume.gain.value = 0.08;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.09);
  } catch { /* a browser without sound */ }
}

function lost(why) {
  document.body.dataset.mode = "lost";
  $("mode").textContent = "no link";
  $("message").textContent = why;
}

function press(button) {
  if (button.id !== "mark" || state === "recording") return send({ type: "control", control: button.dataset.control });
  $("note").hidden = !$("note").hidden; // between episodes a note is words
  $("words").focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-control]");
  if (!button) return;
  press(button);
  if (event.detail) button.blur(); // by a pointer: Enter is start again, not this button
});
$("note").addEventListener("submit", (event) => {
  event.preventDefault();
  send({ type: "note", text: $("words").value });
  $("words").value = "";
  $("note").hidden = true;
});
document.addEventListener("keydown", (event) => { // the terminal's keys
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target === $("words")) return;
  if (event.key === "Enter" && event.target.closest("button")) return; // it is clicked
  const button = [...document.querySelectorAll("[data-key]")].find((each) => each.dataset.key === event.key && !each.hidden);
  if (button) { event.preventDefault(); press(button); }
});
setInterval(() => {
  if (lastState && performance.now() - lastState > 1000 && document.body.dataset.mode !== "lost") lost("nothing heard from the robot");
  if (usesHand) { const jog = headset.jog() || sticks.jog(); if (jog) send({ type: "jog", ...jog }); }
}, JOG_MS);
connect();
