// Keeps the page true: pushed gauges over the WebSocket, its own HTML again when the server says "changed",
// polling when the socket is gone. The header always tells which of these it is, and how old the data are.

import { showAttention } from "./attention.js";
import { applyCells, applyDocument, forgetCells, forgetOtherRows } from "./regions.js";
import { duration } from "./times.js";

const POLL_EVERY = 5000;
const QUIET_FOR = 15000; // without a word from the server, an open socket counts as stale
const SETTLE = 500; // changes that arrive together are fetched together
const REORDER = 3000; // least time between two looks at an order that keeps changing
const GIVE_UP_CODES = [4401, 4403]; // signed out, or no role any more: the page itself must say so

const { watch, name } = document.body.dataset;
const sign = document.getElementById("live");

let socket = null;
let tries = 0;
let heard = 0; // when the server last said anything
let fetched = Date.now(); // when the data on the page were last known to be true
let delay = 0; // seconds from the change to the screen
let failed = false; // the last request got no answer
let due = null; // timer of the next refresh
let dueAt = 0;
let busy = false;
let asked = 0; // when the page was last fetched
let told = ""; // what the server knows that this page shows
let acted = false; // somebody did something on this page since the last refresh

if (watch && sign) start();

function start() {
  connect();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => document.hidden || refreshSoon(0));
  for (const name of ["polos:done", "polos:refused"]) {
    document.addEventListener(name, () => {
      acted = true;
      refreshSoon(0);
    });
  }
  addEventListener("online", connect);
  document.addEventListener("polos:rows", rowsChanged);
  document.addEventListener("htmx:afterSettle", rowsChanged);
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

// -- the socket ------------------------------------------------------------------------------------

function connect() {
  if (socket && socket.readyState <= WebSocket.OPEN) return;
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/`);
  socket.addEventListener("open", opened);
  socket.addEventListener("message", (event) => receive(JSON.parse(event.data)));
  socket.addEventListener("close", closed);
}

function opened() {
  told = "";
  tell();
  if (tries > 0) refreshSoon(0); // what was missed meanwhile
}

// What this page shows: the server sends nothing else.
function shown() {
  if (watch === "queue") return { watch, name };
  const rows = document.querySelectorAll("tr[id^=q-]");
  return { watch, ids: Array.from(rows, (row) => Number(row.id.slice(2))).sort((a, b) => a - b) };
}

function tell() {
  const text = JSON.stringify(shown());
  if (text === told || socket?.readyState !== WebSocket.OPEN) return;
  told = text;
  socket.send(text);
}

let telling = null;

function rowsChanged() {
  if (watch !== "queues") return;
  forgetOtherRows(shown().ids);
  clearTimeout(telling);
  telling = setTimeout(tell, SETTLE);
}

function closed(event) {
  forgetCells();
  if (GIVE_UP_CODES.includes(event.code)) return refreshSoon(0);
  const wait = Math.min(15000, 500 * 2 ** tries++) * (0.5 + Math.random() / 2);
  setTimeout(connect, wait);
  tick();
}

function receive(frame) {
  heard = fetched = Date.now();
  tries = 0;
  failed = false;
  if (frame.kind === "gauges") {
    delay = frame.age_ms / 1000;
    applyCells(frame.fragments);
    socket.send(JSON.stringify({ seen: frame.version })); // the server sends more only to who can keep up
    showAttention(frame.attention);
    // Asked each time: a list that is sorted or grouped otherwise needs it more or less often.
    const seconds = document.querySelector("[data-refresh]")?.dataset.refresh;
    if (seconds) refreshSoon(seconds * 1000);
  }
  if (frame.kind === "changed") refreshSoon(Math.max(SETTLE, watch === "queues" ? asked + REORDER - Date.now() : 0));
  tick();
}

// -- the page again --------------------------------------------------------------------------------

function refreshSoon(wait) {
  const at = Date.now() + wait;
  if (due !== null && dueAt <= at) return;
  clearTimeout(due);
  dueAt = at;
  due = setTimeout(refresh, wait);
}

async function refresh() {
  due = null;
  if (document.hidden) return;
  if (busy) return refreshSoon(SETTLE);
  busy = true;
  asked = Date.now();
  const afterOwnAction = acted;
  acted = false;
  try {
    await fetchPage(afterOwnAction);
    failed = false;
    fetched = Date.now();
  } catch {
    failed = true;
  }
  busy = false;
  tick();
}

async function fetchPage(afterOwnAction) {
  const follows = !afterOwnAction && socket?.readyState === WebSocket.OPEN;
  const headers = { "HX-Request": "true", "HX-Current-URL": location.href, "Polos-Refresh": follows ? "follows" : "alone" };
  const address = location.href;
  const reply = await fetch(address, { headers });
  const elsewhere = reply.headers.get("HX-Redirect");
  // Whoever had a form open learns that it was not carried out.
  if (elsewhere) return location.assign(elsewhere + (document.querySelector("#dialog[open] form") ? "&unsent=1" : ""));
  if (reply.status === 403 || reply.status === 404) return location.reload();
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  if (address !== location.href) return; // somebody searched or folded meanwhile: this is the list as it was
  applyDocument(page, afterOwnAction);
  if ("attention" in page.body.dataset) showAttention(Number(page.body.dataset.attention));
}

// -- the sign in the header ------------------------------------------------------------------------

function tick() {
  const open = socket?.readyState === WebSocket.OPEN;
  const talks = open && Date.now() - heard < QUIET_FOR;
  if (!talks && Date.now() - fetched > POLL_EVERY && due === null) refreshSoon(1);
  const age = (Date.now() - fetched) / 1000;
  if (talks) show("live", delay < 10 ? `${delay.toFixed(2)} s` : duration(delay));
  else if (failed) show("offline", `data ${duration(age)} old`);
  else if (age > 3 * (POLL_EVERY / 1000)) show("stale", `data ${duration(age)} old`);
  else show("polling", `${duration(age)} ago`);
}

function show(state, detail) {
  sign.dataset.state = state;
  const text = `${state} · ${detail}`;
  if (sign.textContent !== text) sign.textContent = text;
}
