// The skeleton over the picture: parts are bones as pairs of points, points are x, y of each, null where not seen.

const COLOURS = { left_hand: "#56b4e9", right_hand: "#e07bb8" };
const OTHER = "#e69f00";

/** Draws one frame of one or more persons on a canvas as large as it is shown. */
export function drawPoints(canvas, parts, persons) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const pen = canvas.getContext("2d");
  const wide = Math.max(2, canvas.width / 250);
  pen.lineCap = "round";
  for (const points of persons) {
    for (const part of parts) {
      const thin = part.part === "face" ? 0.4 : 1;
      const path = pathOf(part.bones, points, canvas);
      // a dark line below the coloured one, so that it shows on any picture
      for (const [colour, width] of [["rgba(0, 0, 0, .55)", 2], [COLOURS[part.part] || OTHER, 1]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = wide * thin * width;
        pen.stroke(path);
      }
    }
  }
}

function pathOf(bones, points, canvas) {
  const path = new Path2D();
  for (const [a, b] of bones) {
    const ends = [points[2 * a], points[2 * a + 1], points[2 * b], points[2 * b + 1]];
    if (ends.includes(null)) continue;
    path.moveTo(ends[0] * canvas.width, ends[1] * canvas.height);
    path.lineTo(ends[2] * canvas.width, ends[3] * canvas.height);
  }
  return path;
}

/** Draws landmarks in step with a video; of a video that the browser cannot play, by a clock. Returns what stops it. */
export function follow(canvas, landmarks, video) {
  const frames = landmarks.points[0].length;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const begun = performance.now();
  let wanted = true;
  let drawn = "";

  function frameNow() {
    if (!landmarks.fps || frames === 1) return 0;
    if (!video && still) return Math.floor(frames / 2);
    const seconds = video ? video.currentTime : (performance.now() - begun) / 1000;
    const frame = Math.floor(seconds * landmarks.fps + 1e-3);
    return video ? Math.min(frame, frames - 1) : frame % frames;
  }

  function step() {
    if (!wanted) return;
    const now = `${frameNow()} ${canvas.clientWidth}`;
    if (now !== drawn) drawPoints(canvas, landmarks.parts, landmarks.points.map((person) => person[frameNow()]));
    drawn = now;
    requestAnimationFrame(step);
  }
  step();
  return () => { wanted = false; };
}
