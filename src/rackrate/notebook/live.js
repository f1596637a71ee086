// The live view of a fleet: grid of nodes, curves, money, and a button that works while the kernel is busy.
// Frames come as messages, never as saved state: what a notebook keeps is the picture that Python makes.

const STYLE = `
.rr-live { font: 13px/1.5 system-ui, sans-serif; color: inherit; max-width: 760px; }
.rr-live .bar { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center; }
.rr-live .bar b { font-weight: 600; }
.rr-live .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(88px, 1fr)); gap: 3px; margin: 6px 0; }
.rr-live .node { border-left: 5px solid; padding: 0 5px; font-size: 11px; line-height: 1.35; white-space: nowrap;
  overflow: hidden; background: rgba(128, 128, 128, .1); }
.rr-live canvas { width: 100%; height: 240px; display: block; }
.rr-live meter { width: 110px; }
.rr-live button { font: inherit; margin-left: auto; padding: 1px 12px; cursor: pointer; color: #fff;
  background: #a8321f; border: 1px solid #a8321f; border-radius: 3px; }
.rr-live button:disabled { background: #767676; border-color: #767676; cursor: default; }
`;
const COLOURS = {
  intent: "#8a8a8a", requested: "#8a8a8a", booted: "#c8941b", ready: "#2a8f5b", draining: "#2a6fb0",
  ending: "#c8641b", gone: "#c4c4c4",
};
const ARMED_MS = 4000;

function make(tag, name, parent) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  parent.append(made);
  return made;
}

function seconds(s) {
  if (s >= 5400) return `${(s / 3600).toFixed(1)} h`;
  return s >= 90 ? `${Math.round(s / 60)} min` : `${Math.round(s)} s`;
}

function number(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(+value.toPrecision(4));
}

/** Put what a frame brings behind the point from which on it is new; false when a frame before is missing. */
function take(curves, news) {
  for (const { metric, node, task, start, steps, values } of news) {
    const key = `${metric}\n${node}\n${task}`;
    const curve = curves.get(key) ?? { metric, node, task, steps: [], values: [] };
    if (start > curve.steps.length) continue; // the next whole frame brings it
    curve.steps.length = curve.values.length = start;
    curve.steps.push(...steps);
    curve.values.push(...values);
    curves.set(key, curve);
  }
}

function draw(canvas, curves) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { steps, values } of curves) {
    for (let i = 0; i < steps.length; i++) {
      x0 = Math.min(x0, steps[i]); x1 = Math.max(x1, steps[i]);
      y0 = Math.min(y0, values[i]); y1 = Math.max(y1, values[i]);
    }
  }
  const ink = getComputedStyle(canvas).color;
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = ink;
  if (x0 === Infinity) {
    pen.fillText("nothing has been reported yet", 8, height / 2);
    return;
  }
  const [left, top, right, bottom] = [52, 8, width - 8, height - 18];
  const x = (step) => left + (x1 > x0 ? (step - x0) / (x1 - x0) : 0.5) * (right - left);
  const y = (value) => bottom - (y1 > y0 ? (value - y0) / (y1 - y0) : 0.5) * (bottom - top);
  pen.strokeStyle = ink;
  pen.globalAlpha = 0.35;
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.globalAlpha = 1;
  pen.textAlign = "right";
  pen.fillText(number(y1), left - 4, top + 9);
  pen.fillText(number(y0), left - 4, bottom);
  pen.fillText(`step ${number(x1)}`, right, height - 4);
  pen.textAlign = "left";
  pen.fillText(number(x0), left, height - 4);
  pen.lineWidth = curves.length > 16 ? 1 : 1.5;
  curves.forEach(({ steps, values }, at) => {
    pen.strokeStyle = `hsl(${(at * 137.5) % 360} 62% 46%)`;
    pen.beginPath();
    for (let i = 0; i < steps.length; i++) pen.lineTo(x(steps[i]), y(values[i]));
    if (steps.length === 1) pen.arc(x(steps[0]), y(values[0]), 1.5, 0, 7);
    pen.stroke();
  });
}

function showNodes(grid, nodes) {
  while (grid.children.length > nodes.length) grid.lastChild.remove();
  nodes.forEach((node, at) => {
    const cell = grid.children[at] ?? make("div", "node", grid);
    const heard = node.heard_s === null ? "" : ` ${node.heard_s.toFixed(1)} s`;
    const price = node.usd_per_hour ? ` $${node.usd_per_hour.toFixed(2)}` : "";
    cell.style.borderColor = COLOURS[node.state];
    cell.textContent = `${node.name} ${node.state}${heard}`;
    cell.title = `${node.node} ${node.state}${node.gpu ? ` ${node.gpu}` : ""}${price}/h, heard of${heard || " never"}`;
  });
}

function render({ model, el }) {
  const root = make("div", "rr-live", el);
  make("style", "", root).textContent = STYLE;
  const bar = make("div", "bar", root);
  const [what, money, time] = [make("b", "", bar), make("span", "", bar), make("span", "", bar)];
  const meter = make("meter", "", bar);
  meter.setAttribute("aria-label", "spent of the budget");
  const pick = make("select", "", bar);
  pick.setAttribute("aria-label", "metric");
  const button = make("button", "", bar);
  button.textContent = "Stop";
  const says = make("div", "says", root);
  const grid = make("div", "grid", root);
  const canvas = make("canvas", "", root);
  canvas.setAttribute("role", "img");

  const curves = new Map();
  let stop = null;
  let isArmed = false;
  let isDue = false;

  const show = () => {
    isDue = false;
    const metrics = [...new Set([...curves.values()].map((curve) => curve.metric))];
    if (metrics.length !== pick.options.length) {
      const chosen = pick.value;
      pick.replaceChildren(...metrics.map((metric) => new Option(metric, metric, false, metric === chosen)));
    }
    pick.hidden = metrics.length < 2;
    const shown = [...curves.values()].filter((curve) => curve.metric === (pick.value || metrics[0]));
    canvas.setAttribute("aria-label", `${shown.length} curves of ${pick.value || "nothing yet"}`);
    canvas.dataset.points = shown.reduce((sum, curve) => sum + curve.steps.length, 0);
    draw(canvas, shown);
  };
  const redraw = () => {
    if (!isDue) requestAnimationFrame(show);
    isDue = true;
  };
  const onFrame = (frame) => {
    if (frame?.kind !== "frame") return;
    stop = frame.stop;
    const s = frame.status;
    what.textContent = `fleet ${s.fleet}: ${s.phase}${s.why ? `, ${s.why}` : ""}; ${s.n_ready} of ${s.wanted} ready`;
    const limit = s.budget_usd === null ? "" : ` of $${s.budget_usd}`;
    money.textContent = `$${s.spent_usd.toFixed(4)}${limit}, $${s.usd_per_hour.toFixed(2)}/h`;
    const lease = s.lease_s === null ? "" : `, lease ${s.lease_s.toFixed(1)} s`;
    time.textContent = `${seconds(s.left_s)} left${lease}`;
    says.textContent = frame.says;
    meter.hidden = s.budget_usd === null;
    meter.max = s.budget_usd ?? 1;
    meter.value = s.spent_usd;
    button.disabled = s.phase !== "open";
    if (s.phase !== "open") button.textContent = s.phase === "closed" ? "Ended" : "Stopping";
    showNodes(grid, s.nodes);
    take(curves, frame.curves);
    redraw();
  };
  button.addEventListener("click", async () => {
    if (!isArmed) {
      isArmed = true;
      button.textContent = "Really stop?";
      setTimeout(() => {
        isArmed = false;
        if (!button.disabled) button.textContent = "Stop";
      }, ARMED_MS);
      return;
    }
    button.disabled = true;
    button.textContent = "Stopping";
    try { // straight to the keeper: the kernel may be busy for an hour
      const answer = await fetch(stop.url, { method: "POST", body: stop.token });
      if (!answer.ok) throw new Error(answer.status);
    } catch {
      model.send({ do: "stop" });
      button.textContent = "Stopping when the kernel is free";
    }
  });
  pick.addEventListener("change", redraw);
  model.on("msg:custom", onFrame);
  model.send({ do: "hello" });
  const watcher = new ResizeObserver(redraw);
  watcher.observe(canvas);
  return () => {
    model.off("msg:custom", onFrame);
    watcher.disconnect();
  };
}

export default { render };
