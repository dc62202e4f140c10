// Makes a page that works without JavaScript live with it: the server sends rendered fragments, this only puts them in place.
"use strict";
(() => {
  const page = document.querySelector("[data-live]");
  if (!page || !window.EventSource) return;
  const transcript = document.getElementById("transcript");
  const preview = document.getElementById("preview");
  const head = document.getElementById("task-head");
  let last = Number(new URL(page.dataset.live, location.href).searchParams.get("after") || 0);
  let source;

  const atBottom = () => window.innerHeight + window.scrollY >= document.body.scrollHeight - 160;
  const keepBottom = (change) => {
    const follow = atBottom();
    change();
    if (follow) window.scrollTo(0, document.body.scrollHeight);
  };

  const open = () => {
    source = new EventSource(page.dataset.live.replace(/after=\d+/, "after=" + last));
    source.addEventListener("event", (message) => keepBottom(() => {
      const sequence = Number(message.lastEventId);
      if (sequence <= last) return;
      last = sequence;
      if (transcript) transcript.insertAdjacentHTML("beforeend", message.data);
      if (preview) { preview.textContent = ""; preview.hidden = true; }
    }));
    source.addEventListener("head", (message) => { if (head) head.innerHTML = message.data; });
    source.addEventListener("delta", (message) => keepBottom(() => {
      if (!preview) return;
      preview.hidden = false;
      preview.textContent += JSON.parse(message.data);
    }));
    source.addEventListener("end", () => source.close());
    source.onerror = () => { source.close(); setTimeout(open, 1500); };
  };
  open();
  addEventListener("pagehide", () => source && source.close());
})();
