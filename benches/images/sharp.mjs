// sharp as a contestant; the protocol is told in `bench.py`.
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

// Installed beside the results, not beside this file.
const sharp = createRequire(process.argv[2] + '/')('sharp');
sharp.concurrency(1);
sharp.cache(false);
console.log(`sharp ${sharp.versions.sharp} (libvips ${sharp.versions.vips}, mozjpeg ${sharp.versions.mozjpeg}, libwebp ${sharp.versions.webp})`);

for await (const line of createInterface({ input: process.stdin })) {
  const [path, , format, width, height, quality, times, out] = line.split('\t');
  const source = readFileSync(path);
  const began = process.cpuUsage();
  let bytes;
  for (let n = 0; n < Number(times); n++) {
    const small = sharp(source).resize({ width: Number(width), height: Number(height), fit: 'fill' });
    bytes = await small.toFormat(format, { quality: Number(quality) }).toBuffer();
  }
  const { user, system } = process.cpuUsage(began);
  writeFileSync(out, bytes);
  console.log((user + system) / 1000 / Number(times));
}
