// A sheet to draw on. The drawing is the component's value: a PNG as a data URL.
const canvas = element.querySelector("canvas");
const pen = canvas.getContext("2d");
const colour = element.querySelector("input[type=color]");
let last = null;
let sending = null;

const wipe = () => {
  pen.fillStyle = canvas.dataset.paper;
  pen.fillRect(0, 0, canvas.width, canvas.height);
};

const send = () => {
  clearTimeout(sending);
  sending = null;
  props.value = canvas.toDataURL("image/png");
  trigger("input");
};

const place = (event) => {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
});

canvas.addEventListener("pointermove", (event) => {
  if (last === null) return;
  const next = place(event);
  pen.strokeStyle = colour ? colour.value : canvas.dataset.ink;
  pen.lineWidth = canvas.width / 12;
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...next);
  pen.stroke();
  last = next;
  sending ??= setTimeout(send, 150);
});

for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    if (last === null) return;
    last = null;
    send();
  });
}

element.querySelector("button").addEventListener("click", wipe);
wipe();
