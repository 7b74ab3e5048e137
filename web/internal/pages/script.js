// What a script adds to pages that work without it: keys, copying, selecting a time in a picture, and new rows as they come.
// It writes texts into the page as texts alone, never as markup.
"use strict";

(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  const say = (text) => {
    const place = $("#said");
    if (place) place.textContent = text;
  };

  // Copying

  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without https the clipboard is not there.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "unseen";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say("Copied");
    if (!button) return;
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 900);
  };
  for (const button of $$("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button.dataset.copy, button));
  }
  const frozen = $("#frozen");
  frozen?.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    copy(frozen.href, frozen);
  });

  // Keys

  const help = $("#help"), open = $("#help-open"), on = $("#keys-on");
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("keys");
      localStorage.setItem("keys", value);
    } catch { /* a browser may keep nothing */ }
    return null;
  };
  if (help && open && on) {
    open.hidden = false;
    open.addEventListener("click", () => help.showModal());
    on.checked = stored() !== "off";
    on.addEventListener("change", () => stored(on.checked ? "on" : "off"));
  }
  const rows = () => $$("main tbody tr").filter((row) => !row.closest("details:not([open])") && $("a", row));
  const move = (step) => {
    const all = rows();
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const to = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
    const link = all[to] && ($("th a", all[to]) || $("a", all[to]));
    link?.focus();
    link?.scrollIntoView({ block: "nearest" });
  };
  const pressed = {
    "/": () => { const box = $("#find"); box?.focus(); box?.select(); },
    "j": () => move(1),
    "k": () => move(-1),
    "[": () => $("a[rel=prev]")?.click(),
    "]": () => $("a[rel=next]")?.click(),
    "c": () => frozen && copy(frozen.href, frozen),
    "?": () => help?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    if (target.closest?.("input:not([type=checkbox]), select, textarea, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const svg = target.closest?.("figure svg");
    if (svg && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const marks = $$("a.column, a.dot", svg);
      const next = marks[marks.indexOf(target.closest("a")) + (event.key === "ArrowRight" ? 1 : -1)];
      if (next) {
        for (const mark of marks) mark.setAttribute("tabindex", mark === next ? "0" : "-1");
        next.focus();
        event.preventDefault();
      }
      return;
    }
    if (help?.open || on && !on.checked || !Object.hasOwn(pressed, event.key)) return;
    event.preventDefault();
    pressed[event.key]();
  });

  // Selecting a time: from the first column that is touched to the last one.

  for (const figure of $$("figure.brush")) {
    const svg = $("svg", figure);
    const columns = $$("a.column", svg);
    const places = columns.map((column) => $(".hit", column));
    let begun = null, rect = null;
    const position = (event) => event.clientX - svg.getBoundingClientRect().left;
    const touched = (from, to) => columns.filter((_, i) => {
      const box = places[i].getBoundingClientRect(), left = svg.getBoundingClientRect().left;
      return box.right - left >= from && box.left - left <= to;
    });
    svg.addEventListener("pointerdown", (event) => { if (event.button === 0) begun = position(event); });
    svg.addEventListener("pointermove", (event) => {
      if (begun === null) return;
      const from = Math.min(begun, position(event)), to = Math.max(begun, position(event));
      if (!rect && to - from < 6) return;
      if (!rect) {
        rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        rect.setAttribute("class", "selection");
        rect.setAttribute("y", "0");
        rect.setAttribute("height", "100%");
        svg.append(rect);
        svg.setPointerCapture(event.pointerId);
      }
      rect.setAttribute("x", String(from));
      rect.setAttribute("width", String(to - from));
    });
    const end = (event) => {
      const drawn = rect, from = begun === null ? 0 : Math.min(begun, position(event)), to = begun === null ? 0 : Math.max(begun, position(event));
      begun = null;
      rect?.remove();
      rect = null;
      if (!drawn || event.type !== "pointerup") return;
      const chosen = touched(from, to);
      if (!chosen.length) return;
      const values = new URLSearchParams();
      for (const field of $$("data.field", figure)) values.append(field.dataset.name, field.value);
      values.set("from", chosen[0].dataset.start);
      values.set("to", chosen[chosen.length - 1].dataset.end);
      location.assign(figure.dataset.path + "?" + values);
    };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
    // The click that ends a selection must not follow the link below it.
    let moved = false;
    svg.addEventListener("pointermove", () => { if (rect) moved = true; });
    svg.addEventListener("click", (event) => {
      if (moved) event.preventDefault();
      moved = false;
    }, true);
    svg.addEventListener("dragstart", (event) => event.preventDefault());
  }

  // Rows as they come: each event is a row whose texts the server has made legible.

  const live = $("[data-live]");
  if (live && "EventSource" in window) {
    const body = $("main tbody"), state = $(".state", live), pause = $(".pause", live);
    const heads = $$("main thead th").map((head) => head.textContent.trim());
    const most = Number(live.dataset.most);
    let source = null, count = 0;
    const cell = (parts, i, marked) => {
      const place = document.createElement(i === 0 ? "th" : "td");
      place.setAttribute("role", i === 0 ? "rowheader" : "cell");
      if (i === 0) place.setAttribute("scope", "row");
      place.dataset.name = heads[i] || "";
      if (marked && i === 0) {
        const sign = document.createElement("span");
        sign.className = "sign";
        sign.textContent = "! ";
        place.append(sign);
      }
      for (const part of parts) {
        const text = document.createElement("bdi");
        text.textContent = part.text;
        if (part.title) text.title = part.title;
        if (part.class) text.className = part.class;
        if (part.link?.startsWith("/") && !part.link.startsWith("//")) {
          const link = document.createElement("a");
          link.href = part.link;
          link.append(text);
          place.append(link);
        } else {
          place.append(text);
        }
        place.append(" ");
      }
      return place;
    };
    const show = (event) => {
      const row = JSON.parse(event.data);
      const record = row.cells.flat().find((part) => part.link?.startsWith("/q/"))?.link;
      if (record && $$("a", body).some((link) => link.getAttribute("href") === record)) return;
      $("main .empty")?.remove();
      const line = document.createElement("tr");
      line.setAttribute("role", "row");
      line.className = row.marked ? "new marked" : "new";
      row.cells.forEach((parts, i) => line.append(cell(parts, i, row.marked)));
      body.prepend(line);
      while (body.rows.length > most) body.rows[body.rows.length - 1].remove();
      state.textContent = ++count + " since the page was opened";
    };
    let after = null;
    const start = () => {
      const from = new URL(live.dataset.live, location.href);
      if (after !== null) from.searchParams.set("after", after);
      source = new EventSource(from);
      source.addEventListener("row", (event) => { after = event.lastEventId; show(event); });
      source.addEventListener("gap", () => { state.textContent = "some records were left out: they came too fast"; });
      source.addEventListener("bye", () => { source.close(); state.textContent = "the server has ended; open the page again"; });
      source.addEventListener("open", () => { state.textContent = "waiting for records"; });
      source.addEventListener("error", () => { state.textContent = "no connection; trying again"; });
    };
    live.hidden = !body;
    pause.addEventListener("click", () => {
      const stop = source !== null;
      source?.close();
      source = null;
      pause.setAttribute("aria-pressed", String(stop));
      pause.textContent = stop ? "Go on" : "Pause";
      if (stop) state.textContent = "paused";
      else start();
    });
    if (body) start();
    addEventListener("pagehide", () => source?.close());
  }
})();
