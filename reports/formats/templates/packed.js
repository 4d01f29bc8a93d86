// What is packed in the page: unpacked when first asked for, and kept.

const unpacked = new Map(); // tag → promise of what is in it

async function unpack(tag) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack the rows: it has no DecompressionStream. "
      + "Chrome 80, Firefox 113, Safari 16.4 and later have it.");
  }
  const packed = atob(tag.textContent);
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at += 1) bytes[at] = packed.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function content(tag) {
  if (!unpacked.has(tag)) unpacked.set(tag, unpack(tag));
  return unpacked.get(tag);
}

async function groupOf(key) {
  const tag = [...document.querySelectorAll("script[data-rows]")].find((found) => found.dataset.rows === key);
  if (!tag) return null;
  const group = await content(tag);
  group.places ??= new Map(group.items.map(([row], at) => [row, at]));
  return group;
}

const artifacts = async () => new Map(Object.entries(await content(document.getElementById("packed-artifacts"))));
