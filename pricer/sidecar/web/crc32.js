// The checksum by which a consumer proves that its table is the sidecar's (docs/protocol.md): CRC-32 of IEEE 802.3 over
// 8 little-endian bytes for each value, row by row; no value is 0x7ff8000000000000.
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});
const NO_VALUE_HIGH = 0x7ff80000; // the bits of no value are written as integers: engines may change those of a NaN

export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// Of columns of numbers and nulls, each as long as the table.
export function checksum(columns) {
  const rows = columns.length ? columns[0].length : 0;
  const bytes = new Uint8Array(rows * columns.length * 8);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (const column of columns) {
      const value = column[row];
      if (value === null) view.setUint32(at + 4, NO_VALUE_HIGH, true);
      else view.setFloat64(at, value, true);
      at += 8;
    }
  }
  return crc32(bytes);
}
