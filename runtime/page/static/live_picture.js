// One live picture after the other: fetched as one message of length, JSON, JPEG and heat map.

const viewer = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const shown = new WeakMap(); // by image element: the address of its picture

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The next picture of a camera: the status of the answer and, with 200, its details, the JPEG and the heat map. */
export async function fetchPicture(camera) {
  const headers = { Accept: "application/vnd.vedette.picture" };
  const answer = await fetch(`/live/${camera}/picture?viewer=${viewer}`, { headers });
  if (answer.status === 401) location.assign("/sign-in");
  if (answer.status !== 200) return { status: answer.status };
  const message = await answer.arrayBuffer();
  const length = new DataView(message).getUint32(0);
  const details = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  const jpeg = new Uint8Array(message, 4 + length, details.jpeg_bytes);
  return { status: 200, details, jpeg, heat: new Uint8Array(message, 4 + length + details.jpeg_bytes) };
}

/** Shows a JPEG in an image element. */
export async function showJpeg(image, jpeg) {
  const url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
  image.src = url;
  image.hidden = false;
  await image.decode().catch(() => {});
  if (shown.has(image)) URL.revokeObjectURL(shown.get(image));
  shown.set(image, url);
}
