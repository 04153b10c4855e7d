// A camera, frame by frame, over a WebSocket: the next picture is sent when the last one was answered.

const WIDE = 480; // pixels of a sent picture
const PAUSE = 100; // milliseconds between two pictures, at least

export const LOST = "The connection was lost. Is the service still running?";
const REFUSED = "The camera could not be used. Allow it for this page, which must be at https:// or on this machine, or choose a file.";

/** Begins a session; calls told(answer) for each frame and, once, ended(words). Returns what stops it. */
export function watch(video, bundle, told, ended) {
  let stream = null;
  let socket = null;
  let over = false;

  function finish(words) {
    if (!over) {
      over = true;
      ended(words);
    }
    if (socket) socket.close();
    if (stream) stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }

  async function begin() {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
    if (!over) {
      video.srcObject = stream;
      await video.play();
    }
    if (over) finish(""); // it was stopped meanwhile
    else socket = talk(video, bundle, told, finish);
  }
  begin().catch(() => finish(REFUSED));
  return () => finish("");
}

function talk(video, bundle, told, finish) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.min(WIDE, video.videoWidth);
  canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
  const scheme = location.protocol.replace("http", "ws");
  const socket = new WebSocket(`${scheme}//${location.host}/api/v1/live?bundle=${encodeURIComponent(bundle)}`);
  let words = LOST;
  let sent = 0;

  function send() {
    if (socket.readyState !== WebSocket.OPEN) return;
    sent = performance.now();
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((picture) => socket.readyState === WebSocket.OPEN && socket.send(picture), "image/jpeg", 0.8);
  }
  socket.onopen = send;
  socket.onmessage = (message) => {
    const answer = JSON.parse(message.data);
    if (answer.error) {
      words = answer.error;
      return;
    }
    told({ ...answer, turnaround: performance.now() - sent });
    setTimeout(send, Math.max(0, PAUSE - (performance.now() - sent)));
  };
  socket.onclose = () => finish(words);
  return socket;
}
