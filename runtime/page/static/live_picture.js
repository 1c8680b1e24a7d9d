// The live picture of a camera: fetches a message of the page and takes it apart.

const PICTURE_TYPE = "application/vnd.vedette.picture";

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class LivePicture {
  /** image: the element that shows it. */
  constructor(camera, image) {
    const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
    const viewer = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    this.address = `/live/${camera}/picture?viewer=${viewer}`;
    this.image = image;
    this.shown = "";
  }

  /** Shows the next picture: its status of HTTP, and with 200 what is drawn over it and the bytes of the heat map. */
  async next() {
    const answer = await fetch(this.address, { headers: { Accept: PICTURE_TYPE } });
    if (answer.status === 401) location.assign("/sign-in");
    if (answer.status !== 200) return { status: answer.status };
    const message = await answer.arrayBuffer();
    const length = new DataView(message).getUint32(0);
    const details = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
    const jpeg = new Uint8Array(message, 4 + length, details.jpeg_bytes);
    const url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
    this.image.src = url;
    this.image.hidden = false;
    await this.image.decode().catch(() => {});
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = url;
    return { status: 200, details, heat: new Uint8Array(message, 4 + length + details.jpeg_bytes) };
  }
}
