// A camera, frame by frame, over a WebSocket: the next picture is sent when the last one was answered.

const WIDE = 480; // pixels of a sent picture
const PAUSE = 100; // milliseconds between two pictures, at least

export const REFUSED = "The camera could not be used. Allow it for this page, or choose a file instead.";
export const LOST = "The connection was lost. Is the service still running?";

/** Begins a session; calls told(answer) for each frame and ended(words) when it is over. Returns what stops it. */
export async function watch(video, bundle, told, ended) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
  } catch {
    ended(REFUSED);
    return () => {};
  }
  video.srcObject = stream;
  await video.play();

  const canvas = document.createElement("canvas");
  canvas.width = Math.min(WIDE, video.videoWidth);
  canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
  const address = `${location.protocol.replace("http", "ws")}//${location.host}/api/v1/live?bundle=${encodeURIComponent(bundle)}`;
  const socket = new WebSocket(address);
  let words = LOST;
  let sent = 0;

  function send() {
    if (socket.readyState !== WebSocket.OPEN) return;
    sent = performance.now();
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((picture) => socket.readyState === WebSocket.OPEN && socket.send(picture), "image/jpeg", 0.8);
  }
  function stop() {
    words = "";
    socket.close();
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
  socket.onclose = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    ended(words);
  };
  return stop;
}
