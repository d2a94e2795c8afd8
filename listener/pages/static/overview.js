"use strict";
// Draws the charts of the overview, and refreshes its figures while the page is visible.
const INTERVAL = 10000;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const times = (values) => values.map((value) => uPlot.tzDate(new Date(value * 1000), "Etc/UTC").toTimeString().slice(0, 5));

// Counts have no halves.
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7];

// Ten minutes at least, up to now where there is nothing yet.
function span(low, high) {
  const last = high ?? Date.now() / 1000;
  return [Math.min(low ?? last, last - 600), last];
}

function axis(more) {
  return { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, ...more };
}

function chart(id, series, data, axes = []) {
  const place = document.getElementById(id);
  const draw = () => {
    place.replaceChildren();
    const plot = new uPlot(
      {
        width: place.clientWidth,
        height: 200,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { x: { range: (_, low, high) => span(low, high) }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] }, age: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
        axes: [axis({ values: (_, ticks) => times(ticks) }), axis({ size: 44, incrs: WHOLE }), ...axes.map(axis)],
        series: [{}, ...series.map((one) => ({ width: 1.5, points: { show: false }, ...one, stroke: color(one.stroke) }))],
      },
      place.data,
      place,
    );
    place.plot = plot;
  };
  place.data = data;
  draw();
  window.addEventListener("resize", () => place.plot.setSize({ width: place.clientWidth, height: 200 }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return (fresh) => {
    place.data = fresh;
    place.plot.setData(fresh);
  };
}

const showRates = chart("rates", [{ stroke: "--accent" }, { stroke: "--good" }, { stroke: "--bad" }], [[], [], [], []]);
const showBacklog = chart(
  "backlog",
  [{ stroke: "--accent" }, { stroke: "--bad", scale: "age" }],
  [[], [], []],
  [{ side: 1, scale: "age", size: 44, grid: { show: false } }],
);

function showTiles(tiles) {
  for (const { name, count, note, tone } of tiles) {
    const tile = document.querySelector(`[data-tile="${name}"]`);
    tile.querySelector(".count").textContent = count;
    tile.querySelector(".sub").textContent = note;
    tile.classList.remove("bad", "warn");
    if (tone) tile.classList.add(tone);
  }
}

async function refresh() {
  if (document.hidden) return;
  let figures;
  try {
    const reply = await fetch("/overview.json", { headers: { accept: "application/json" } });
    if (reply.redirected) return location.reload(); // the session is over
    if (!reply.ok) return;
    figures = await reply.json();
  } catch {
    return; // the daemon is being restarted, perhaps
  }
  showTiles(figures.tiles);
  showRates([figures.minutes, figures.received, figures.handled, figures.failed]);
  showBacklog(figures.backlog);
}

refresh();
setInterval(refresh, INTERVAL);
document.addEventListener("visibilitychange", refresh);
