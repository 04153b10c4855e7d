// The page: a file or a camera in, the likeliest glosses and the skeleton out.

import { LOST, watch } from "./camera.js";
import { drawPoints, follow } from "./draw.js";

const at = (id) => document.getElementById(id);
const WORDS = {
  400: "The service did not understand this file.",
  404: "There is no such recogniser any more. Load the page again.",
  408: "Sending the file took too long.",
  413: "This file is too large or too long.",
  415: "This kind of file cannot be read.",
  422: "Nothing could be recognised in this file.",
  429: "The service is busy. Try again in a moment.",
  503: "The service is not ready yet. Try again in a moment.",
};
let limits = {};
let bundles = [];
let stopDrawing = () => {};
let stopCamera = null;
let asked = 0; // questions so far: an answer to an earlier one than the last is not shown
let spoken = { gloss: "", when: 0 };

// ---------------------------------------------------------------- what is said

function say(state, error = "") {
  at("state").textContent = state;
  at("error").textContent = error;
}

function showAnswers(top) {
  const rows = top.map(({ gloss, probability }) => {
    const row = document.createElement("li");
    const percent = `${(100 * probability).toFixed(probability < 0.1 ? 1 : 0)} %`;
    row.innerHTML = '<span class="gloss"></span><span class="share"></span><span class="bar" aria-hidden="true"><span></span></span>';
    row.querySelector(".gloss").textContent = gloss;
    row.querySelector(".share").textContent = percent;
    row.querySelector(".bar span").style.width = `${100 * probability}%`;
    return row;
  });
  at("answers").replaceChildren(...rows);
}

/** Tells a screen reader; of a camera only when the gloss is another one, and not all the time. */
function speak(top, pause) {
  if (!top.length) return;
  const { gloss, probability } = top[0];
  const now = performance.now();
  if (pause && (gloss === spoken.gloss || now - spoken.when < pause)) return;
  spoken = { gloss, when: now };
  at("spoken").textContent = `${gloss}, ${Math.round(100 * probability)} percent`;
}

/** The signs of a long clip: each can be gone to, the one that is playing is marked and told in full. */
function showSigns(segments) {
  const rows = segments.map((one) => {
    const row = document.createElement("li");
    row.innerHTML = '<button type="button"><span class="time"></span> <span class="gloss"></span> <span class="share"></span></button>';
    row.querySelector(".time").textContent = `${one.start.toFixed(1)} to ${one.end.toFixed(1)} s`;
    row.querySelector(".gloss").textContent = one.gloss;
    row.querySelector(".share").textContent = one.confidence === null ? "" : `${Math.round(100 * one.confidence)} %`;
    row.firstChild.addEventListener("click", () => {
      at("video").currentTime = one.start;
      mark(one);
    });
    return row;
  });
  function mark(current) {
    segments.forEach((one, i) => rows[i].firstChild.setAttribute("aria-current", one === current));
    if (current) showAnswers(current.top);
  }
  at("signs").replaceChildren(...rows);
  at("video").ontimeupdate = segments.length
    ? () => mark(segments.find((one) => one.start <= at("video").currentTime && at("video").currentTime < one.end))
    : null;
}

function clear() {
  asked += 1;
  stopDrawing();
  if (stopCamera) stopCamera();
  showAnswers([]);
  showSigns([]);
  at("facts").textContent = at("spoken").textContent = "";
  for (const shown of [at("video"), at("photo")]) {
    shown.onload = shown.onloadedmetadata = shown.onerror = null; // what comes of it now is of another file
    if (shown.src) URL.revokeObjectURL(shown.src);
    shown.removeAttribute("src");
    if (shown.load) shown.load(); // else a video goes on unseen
    shown.hidden = true;
  }
  at("frame").classList.remove("mirrored");
  const pen = at("overlay").getContext("2d");
  pen.clearRect(0, 0, at("overlay").width, at("overlay").height);
  return asked;
}

/** Gives the stage the shape of what is shown on it. */
function shape(width, height) {
  const frame = at("frame");
  frame.style.aspectRatio = `${width || 4} / ${height || 3}`;
  frame.style.maxWidth = `calc(75vh * ${(width || 4) / (height || 3)})`;
  at("stage").hidden = false;
}

// ---------------------------------------------------------------- files

async function ask(file) {
  const question = clear();
  const shown = show(file);
  if (limits.max_upload_mb && file.size > limits.max_upload_mb * 1e6) {
    say("", `${WORDS[413]} ${(file.size / 1e6).toFixed(0)} MB; at most ${limits.max_upload_mb} MB are taken.`);
    return;
  }
  say("Looking at it …");
  const form = new FormData();
  form.append("file", file);
  const began = performance.now();
  let response, told;
  try {
    response = await fetch(`api/v1/recognitions?landmarks=true&bundle=${encodeURIComponent(at("bundle").value)}`, { method: "POST", body: form });
    told = await response.json();
  } catch {
    if (question === asked) say("", LOST);
    return;
  }
  if (question !== asked) return;
  if (!response.ok) {
    say("", wordsOf(response.status, told.error));
    return;
  }
  const turnaround = performance.now() - began;
  const playing = await shown;
  if (question === asked) answered(told, playing, turnaround);
}

function wordsOf(status, error = "") {
  if (/no person or hand found|no hand/.test(error)) return "No hand or person was seen. Is all of the upper body in the picture?";
  return `${WORDS[status] || "The service could not answer."} (${error})`;
}

function answered(told, playing, turnaround) {
  const clip = told.clips ? told.clips.find((one) => !one.error) : told;
  if (!clip) {
    say("", wordsOf(422, told.clips[0].error));
    return;
  }
  const more = told.clips ? ` The first of ${told.clips.length} clips.` : "";
  if (clip.segments) {
    const count = clip.segments.length;
    say(`${count ? `${count} ${count === 1 ? "sign" : "signs"}, one after the other:` : "Nothing signed was found."}${more}`);
    showSigns(clip.segments);
    at("spoken").textContent = clip.segments.map((one) => one.gloss).join(", ");
  } else {
    say(`${clip.decoded ? `Signed: ${clip.decoded.join(" ")}. ` : ""}Most likely:${more}`);
    showAnswers(clip.top);
    speak(clip.top, 0);
  }
  const long = clip.seconds ? `, ${clip.seconds.toFixed(1)} s` : "";
  const note = `${clip.note ? ` ${clip.note}.` : ""}${playing ? "" : " This browser shows only the skeleton of it."}`;
  at("facts").textContent = `${clip.frames} ${clip.frames === 1 ? "frame" : "frames"}${long}; answered in ${(turnaround / 1000).toFixed(1)} s.${note}`;
  if (!playing) shape(clip.landmarks.width, clip.landmarks.height);
  stopDrawing = follow(at("overlay"), clip.landmarks, playing === "video" ? at("video") : null);
}

/** Shows a file as far as the browser can; a promise of "video", "photo" or "" for nothing. */
function show(file) {
  at("stage").hidden = true;
  const image = file.type.startsWith("image/") && file.type !== "image/gif";
  const shown = at(image ? "photo" : "video");
  return new Promise((done) => {
    shown[image ? "onload" : "onloadedmetadata"] = () => { // more than this some telephones load only when it plays
      const [width, height] = image ? [shown.naturalWidth, shown.naturalHeight] : [shown.videoWidth, shown.videoHeight];
      shown.hidden = !width;
      if (width) shape(width, height);
      if (!image && !matchMedia("(prefers-reduced-motion: reduce)").matches) shown.play().catch(() => {});
      done(width ? (image ? "photo" : "video") : ""); // of some files only the sound can be played
    };
    shown.onerror = () => done("");
    shown.src = URL.createObjectURL(file);
  });
}

// ---------------------------------------------------------------- the camera

function camera() {
  if (stopCamera) {
    stopCamera();
    return;
  }
  const question = clear();
  const video = at("video");
  let parts = [];
  say("Waiting for the camera …");
  at("camera").setAttribute("aria-pressed", "true");
  at("camera").textContent = "Stop the camera";
  video.controls = false;
  video.addEventListener("playing", () => {
    if (question !== asked) return;
    shape(video.videoWidth, video.videoHeight);
    video.hidden = false;
    at("frame").classList.add("mirrored");
    say("Waiting for the first answer; this takes a few seconds …");
  }, { once: true });

  function told(answer) {
    if (question !== asked) return;
    parts = answer.parts || parts;
    drawPoints(at("overlay"), parts, [answer.points]);
    at("facts").textContent = `${Math.round(answer.turnaround)} ms for a frame`;
    if (!answer.top) return;
    showAnswers(answer.top);
    speak(answer.top, 2000);
    const seen = answer.points.some((number) => number !== null);
    say(answer.top.length ? `The last ${limits.live_window} seconds:` : seen ? "Nothing to recognise yet." : "No hand or person is seen.");
  }

  function ended(words) {
    stopCamera = null;
    video.controls = true;
    at("camera").setAttribute("aria-pressed", "false");
    at("camera").textContent = "Use the camera";
    if (question !== asked) return;
    at("stage").hidden = true;
    at("facts").textContent = "";
    say(words ? "" : "The camera is off.", words);
  }
  stopCamera = watch(video, at("bundle").value, told, ended);
}

// ---------------------------------------------------------------- the beginning

/** Learns what there is to ask, again and again until all is ready; ready: false when it was not the last time. */
async function begin(ready) {
  try {
    const told = await (await fetch("api/v1/bundles")).json();
    ({ limits, bundles } = told);
    const chosen = at("bundle").value;
    at("bundle").replaceChildren(...bundles.map((one) => new Option(`${one.name} (${one.glosses} glosses)`, one.name)));
    if (bundles.some((one) => one.name === chosen)) at("bundle").value = chosen;
    at("choice").hidden = bundles.length < 2;
    offer();
    if (bundles.every((one) => one.ready)) {
      if (!ready) say("Ready.");
      return;
    }
    say("The recogniser is being loaded …");
  } catch {
    say("", LOST);
  }
  setTimeout(() => begin(false), 2000);
}

/** Offers what the chosen recogniser takes, and nothing else. */
function offer() {
  const { media, note } = bundles.find((one) => one.name === at("bundle").value);
  at("asks").textContent = media ? "What is signed in a video, in a photo, or before your camera?" : "What is signed in a file of landmarks?";
  at("choose").textContent = media ? "Choose a video or photo" : "Choose a landmark file";
  at("file").accept = media ? "video/*,image/*,.parquet,.npz" : ".parquet,.npz";
  at("camera").hidden = !media;
  if (!media && stopCamera) stopCamera();
  at("hint").textContent = `or drop a file here. It is not kept.${media ? "" : ` This recogniser ${note}.`}`;
}

at("bundle").addEventListener("change", offer);
at("file").addEventListener("change", () => {
  if (at("file").files.length) ask(at("file").files[0]);
  at("file").value = ""; // the same file may be chosen again
});
at("camera").addEventListener("click", camera);
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
  });
}
begin(true);
