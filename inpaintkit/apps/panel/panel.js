// The front of `Panel`: a picture to paint a hole on, controls, and the pictures that answer.
// Only the newest state is sent, and only when the kernel has answered the last one: quick moves never queue up.

const LONGEST = 1024; // pixels of the longer side of a photograph that is sent to the kernel
const SILENT = 15000; // milliseconds without an answer, after which the panel says so
const NO_ANSWER = "The kernel has not answered for 15 s. It is busy, or it has stopped: then run this cell again.";
const UNDO = 30;

function tag(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// Traits hold bytes as a DataView; a picture shows them by an address that is freed when it has been drawn.
function show(image, bytes) {
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
}

function toBytes(canvas, kind, quality) {
  return new Promise((done) => canvas.toBlob((blob) => blob.arrayBuffer().then(done), kind, quality));
}

const button = (words, action) => tag("button", { type: "button", textContent: words, onclick: action });

// A button that lets choose a file: the browser's own control cannot be styled, and speaks the browser's language.
function chooser(words, take) {
  const input = tag("input", { type: "file", accept: "image/*", hidden: true, ariaLabel: words });
  input.onchange = () => {
    const file = input.files[0];
    if (file) take(file).finally(() => (input.value = "")); // so that the same file can be chosen again
  };
  return tag("span", { className: "ik-file" }, input, button(words, () => input.click()));
}

function save(blob, name) {
  const link = tag("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// --- the brush ---------------------------------------------------------------------------------------------------

function brush(changed) {
  const photo = tag("canvas"), cover = tag("canvas", { tabIndex: 0, role: "application" });
  const board = tag("div", { className: "ik-board" }, photo, cover);
  const undone = [];
  let width = 1, height = 1, hole = new Uint8Array(1), radius = 3, erase = false, last = null, at = null;

  const context = cover.getContext("2d");

  function draw() {
    const pixels = context.createImageData(width, height);
    for (let i = 0; i < hole.length; i++) if (hole[i]) pixels.data.set([255, 212, 0, 235], 4 * i);
    context.putImageData(pixels, 0, 0);
    const hidden = hole.reduce((sum, one) => sum + one, 0);
    const share = ((100 * hidden) / hole.length).toFixed(1);
    cover.setAttribute("aria-label", `Picture of ${width} by ${height} pixels, ${share} % of it hidden. Paint with the ` +
      "pointer, or move with the arrow keys and press space.");
    share_.textContent = `${share} % hidden`;
  }

  function remember() {
    undone.push(hole.slice());
    if (undone.length > UNDO) undone.shift();
  }

  function disc(x, y) {
    const r = radius - 0.5;
    for (let row = Math.max(0, Math.floor(y - r)); row <= Math.min(height - 1, Math.ceil(y + r)); row++)
      for (let column = Math.max(0, Math.floor(x - r)); column <= Math.min(width - 1, Math.ceil(x + r)); column++)
        if ((row - y) ** 2 + (column - x) ** 2 <= Math.max(r * r, 0.5)) hole[row * width + column] = erase ? 0 : 1;
  }

  function line(from, to) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let i = 0; i <= steps; i++)
      disc(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
    draw();
  }

  function place(event) {
    const box = cover.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width - 0.5, ((event.clientY - box.top) / box.height) * height - 0.5];
  }

  function change(make) {
    remember();
    make();
    draw();
    changed();
  }

  cover.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    cover.setPointerCapture(event.pointerId); // a stroke may leave the picture and come back
    remember();
    last = place(event);
    line(last, last);
    event.preventDefault();
    cover.focus();
  });
  cover.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    line(last, next);
    last = next;
  });
  for (const end of ["pointerup", "pointercancel"])
    cover.addEventListener(end, () => {
      if (last) changed();
      last = null;
    });
  cover.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    at = at || [width / 2, height / 2];
    if (step) {
      at = [at[0] + step[0] * radius, at[1] + step[1] * radius];
      at = [Math.min(Math.max(at[0], 0), width - 1), Math.min(Math.max(at[1], 0), height - 1)];
      draw();
      context.strokeStyle = "red";
      context.strokeRect(at[0] - radius, at[1] - radius, 2 * radius, 2 * radius);
    } else if (event.key === " ") change(() => disc(...at));
    else if (event.key === "z") undo();
    else return;
    event.preventDefault();
  });

  function undo() {
    if (!undone.length) return;
    hole = undone.pop();
    draw();
    changed();
  }

  const share_ = tag("span", { className: "ik-share" });
  const size = tag("input", { type: "range", min: 1, max: 20, value: radius });
  size.addEventListener("input", () => (radius = Number(size.value)));
  const eraser = tag("input", { type: "checkbox" });
  eraser.addEventListener("change", () => (erase = eraser.checked));
  const tools = tag(
    "div", { className: "ik-tools" },
    tag("label", {}, "brush ", size), tag("label", {}, eraser, " erase"),
    button("undo", undo),
    button("clear", () => change(() => hole.fill(0))),
    button("invert", () => change(() => hole.forEach((one, i) => (hole[i] = 1 - one)))),
    button("save mask", () => mask().then((bytes) => save(new Blob([bytes], { type: "image/png" }), "mask.png"))),
    share_,
  );

  function mask() {
    const canvas = tag("canvas", { width, height }), pixels = new ImageData(width, height);
    hole.forEach((one, i) => pixels.data.set(one ? [255, 255, 255, 255] : [0, 0, 0, 255], 4 * i));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return toBytes(canvas, "image/png");
  }

  async function load(bytes, painted) {
    const image = await createImageBitmap(new Blob([bytes]));
    const other = image.width !== width || image.height !== height;
    [width, height] = [image.width, image.height];
    for (const canvas of [photo, cover]) Object.assign(canvas, { width, height });
    photo.getContext("2d").drawImage(image, 0, 0);
    board.style.setProperty("--ratio", width / height);
    board.classList.toggle("ik-pixels", width < 300);
    size.max = Math.max(8, Math.round(Math.min(width, height) / 6));
    if (other) {
      hole = new Uint8Array(width * height);
      undone.length = 0;
      size.value = radius = Math.max(2, Math.round(Math.min(width, height) / 20));
      at = null;
    }
    if (painted) {
      const given = await createImageBitmap(new Blob([painted]));
      const canvas = tag("canvas", { width, height }), drawn = canvas.getContext("2d", { willReadFrequently: true });
      drawn.drawImage(given, 0, 0);
      const { data } = drawn.getImageData(0, 0, width, height);
      remember();
      hole = hole.map((_, i) => (data[4 * i] > 127 ? 1 : 0));
    }
    draw();
  }

  return { board, tools, mask, load, photo };
}

// --- the panel ---------------------------------------------------------------------------------------------------

function control(spec, moved) {
  const id = `ik-${Math.random().toString(36).slice(2)}`;
  const said = tag("output", { htmlFor: id });
  let input;
  if (spec.kind === "choice")
    input = tag("select", { id }, ...spec.options.map((one) => tag("option", { value: one, textContent: one })));
  else if (spec.kind === "check") input = tag("input", { id, type: "checkbox" });
  else input = tag("input", { id, type: "range", min: spec.low, max: spec.high, step: spec.step });
  const get = () => (spec.kind === "check" ? input.checked : spec.kind === "choice" ? input.value : Number(input.value));
  const set = (value) => {
    if (spec.kind === "check") input.checked = value;
    else input.value = value;
    said.textContent = spec.kind === "range" ? `${Number(input.value)}${spec.unit}` : "";
  };
  set(spec.value);
  input.addEventListener("input", () => {
    set(get());
    moved();
  });
  const words = tag("label", { htmlFor: id, textContent: spec.label });
  return { name: spec.name, get, set, row: tag("div", { className: "ik-control" }, words, input, said) };
}

function render({ model, el }) {
  const state = () => Object.fromEntries(controls.map((one) => [one.name, one.get()]));
  const controls = model.get("controls").map((spec) => control(spec, () => send("change")));
  const status = tag("div", { className: "ik-status", role: "status", ariaLive: "polite" });
  const message = tag("div", { className: "ik-message", role: "alert" });
  const tiles = tag("div", { className: "ik-tiles" });
  const left = tag("div", { className: "ik-left" }), right = tag("div", { className: "ik-right" });
  const view = Math.random().toString(36).slice(2); // two views of one panel tell their answers apart
  let sent = 0, serial = "", busy = false, waiting = null, timers = [], slow = null;

  // One message at a time. `waiting` holds what happened meanwhile; a photograph or a mask is never dropped for a move.
  async function send(event, bytes, more = {}) {
    if (event !== "extra") stop();
    if (busy) {
      if (bytes || !(waiting && waiting[1])) waiting = [event, bytes, more];
      return;
    }
    busy = true;
    el.dataset.busy = "yes";
    serial = `${view}:${++sent}`;
    timers = [
      setTimeout(() => (status.textContent = "working …"), 150),
      setTimeout(() => (status.textContent = NO_ANSWER), SILENT),
    ];
    const buffers = [bytes || (paint ? await paint.mask() : new ArrayBuffer(0))];
    model.send({ event, serial, values: state(), ...more }, undefined, buffers);
  }

  function answered() {
    const reply = model.get("reply");
    if (reply.serial !== serial) return; // of another view, or of an earlier one
    timers.forEach(clearTimeout);
    status.textContent = "";
    accept(reply).finally(() => {
      busy = false; // only now: a move during the drawing waits as all others do
      el.dataset.busy = "no";
      el.dataset.answers = sent;
      const next = waiting;
      waiting = null;
      if (next) send(...next);
      else if (slow) slow();
    });
  }

  async function accept(reply) {
    message.textContent = reply.message;
    for (const one of controls) if (one.name in reply.values) one.set(reply.values[one.name]);
    if (paint && reply.picture.byteLength) await paint.load(reply.picture, reply.hole);
    if (reply.extra === undefined && !reply.message) tiles.replaceChildren();
    tiles.append(...reply.tiles.map(tile));
    for (const image of tiles.querySelectorAll("img")) await image.decode().catch(() => {});
    if (result) result.disabled = !reply.patch;
    if (reply.patch) patch = reply.patch;
  }

  function tile(one) {
    const words = one.note ? `${one.label}: ${one.note}` : one.label;
    const image = tag("img", { alt: words, className: one.pixels ? "ik-pixels" : "", width: one.width });
    show(image, one.picture);
    const caption = tag("figcaption", {}, tag("b", { textContent: one.label }), tag("span", { textContent: one.note }));
    return tag("figure", { className: one.best ? "ik-best" : "", style: `width: ${one.width}px` }, image, caption);
  }

  // Slow methods: one message each, so that the panel stays alive and a click, or any change, ends them.
  const extras = model.get("extras"), bar = tag("progress", { max: extras.length, value: 0, hidden: true });
  const ask = button(`also: ${extras.join(", ")}`);
  function stop() {
    slow = null;
    bar.hidden = true;
    ask.textContent = `also: ${extras.join(", ")}`;
  }
  ask.onclick = () => {
    if (slow) return stop();
    let done = 0;
    slow = () => {
      bar.value = done;
      if (done === extras.length) return stop();
      send("extra", null, { extra: done++ });
    };
    bar.hidden = false;
    ask.textContent = "stop";
    if (!busy) slow();
  };

  // A photograph of the student's own: opened, turned as its camera says, and made smaller here, so that none is too large.
  const paint = model.get("paints") ? brush(() => send("change")) : null;
  let result = null, patch = null;
  if (paint) {
    left.append(paint.board, paint.tools);
    paint.tools.append(chooser("load mask", async (file) => send("mask", await file.arrayBuffer(), { name: file.name })));
  }
  if (model.get("opens")) {
    const open = async (file) => {
      try {
        const whole = await createImageBitmap(file), scale = Math.min(1, LONGEST / Math.max(whole.width, whole.height));
        const [width, height] = [whole.width, whole.height].map((n) => Math.max(1, Math.round(n * scale)));
        const canvas = tag("canvas", { width, height }), context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(whole, 0, 0, width, height);
        send("photo", await toBytes(canvas, "image/jpeg", 0.95), { name: file.name });
      } catch {
        message.textContent = `${file.name} is no picture that this browser can open: choose a JPEG or PNG.`;
      }
    };
    const own = chooser("open your own photograph", open);
    if (paint) paint.tools.append(own);
    else right.append(own);
  }
  if (model.get("saves")) {
    result = button("save the result", async () => {
      const canvas = tag("canvas", { width: paint.photo.width, height: paint.photo.height });
      const context = canvas.getContext("2d");
      context.drawImage(paint.photo, 0, 0);
      context.drawImage(await createImageBitmap(new Blob([patch.picture])), patch.left, patch.top);
      save(new Blob([await toBytes(canvas, "image/png")], { type: "image/png" }), "Inpainted_Output.png");
    });
    paint.tools.append(result);
  }

  right.append(...controls.map((one) => one.row));
  if (extras.length) right.append(tag("div", { className: "ik-slow" }, ask, bar));
  right.append(message, status, tiles);
  el.classList.add("ik-panel");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the arrow keys for itself
  el.addEventListener("keydown", (event) => event.stopPropagation());
  if (paint) el.append(left);
  el.append(right);
  accept(model.get("reply")).then(() => (el.dataset.answers = sent));
  model.on("change:reply", answered);
  return () => model.off("change:reply", answered);
}

export default { render };
