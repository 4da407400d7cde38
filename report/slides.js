// Turns the page's sections into slides: keys, clicks, swipes; N shows what is to be said.
"use strict";

const slides = [...document.querySelectorAll("main > section")];
const counter = document.querySelector("nav output");
const root = document.documentElement;
const column = matchMedia("(max-width: 700px)"); // a phone upright: all slides, one below the other
const BUSY = "a, button, input, select, textarea, summary, .live, .notes, nav";
const STEPS = {
  ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, Enter: 1,
  ArrowLeft: -1, ArrowUp: -1, PageUp: -1, Backspace: -1,
  Home: -Infinity, End: Infinity,
};
const KEYS = {
  n: () => root.classList.toggle("with-notes"),
  p: () => print(),
  f: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()),
};
let at = 0;

function show(index) {
  at = Math.max(0, Math.min(slides.length - 1, index));
  slides.forEach((slide, i) => slide.classList.toggle("shown", i === at));
  counter.textContent = `${at + 1} / ${slides.length}`;
  root.style.setProperty("--progress", `${(100 * (at + 1)) / slides.length}%`);
  history.replaceState(null, "", `#${at + 1}`);
  if (document.activeElement !== document.body) document.activeElement.blur();
}

const fromAddress = () => show(Number(location.hash.slice(1)) - 1 || 0);

addEventListener("hashchange", fromAddress);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(BUSY)) return;
  const step = event.shiftKey && event.key === " " ? -1 : STEPS[event.key];
  const act = KEYS[event.key.toLowerCase()];
  if (act) act();
  else if (step && !column.matches) show(at + step);
  else return;
  event.preventDefault();
});
document.querySelector("nav").addEventListener("click", (event) => {
  const step = Number(event.target.dataset.go);
  if (step) show(at + step);
});
document.querySelector("main").addEventListener("click", (event) => {
  if (column.matches || event.target.closest(BUSY) || !getSelection().isCollapsed) return;
  show(at + (event.clientX < innerWidth / 3 ? -1 : 1));
});

let touch = null;
addEventListener("touchstart", (event) => {
  const one = event.touches.length === 1 && !event.target.closest(BUSY);
  touch = one ? event.touches[0] : null;
}, { passive: true });
addEventListener("touchend", (event) => {
  if (!touch || column.matches) return;
  const dx = event.changedTouches[0].clientX - touch.clientX;
  const dy = event.changedTouches[0].clientY - touch.clientY;
  if (Math.abs(dx) > 50 && Math.abs(dx) > 2 * Math.abs(dy)) show(at + (dx < 0 ? 1 : -1));
});

/** A viewer that is to begin in a pose of the viewer's own list: data-pose="squatting". */
async function begin(host) {
  while (!host.hmr) await new Promise(requestAnimationFrame); // it unpacks its body first
  const choice = host.querySelector('select[aria-label="pose"]');
  choice.value = host.dataset.pose;
  choice.dispatchEvent(new Event("change"));
}

document.querySelectorAll("[data-pose]").forEach(begin);
fromAddress();
