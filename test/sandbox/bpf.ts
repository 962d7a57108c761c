/** A tiny interpreter of classic BPF as seccomp runs it (`struct seccomp_data`, 64 bytes): shares no code with what builds the programs. */
export interface Call {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

/** @returns the 32-bit answer. @throws on what the kernel would not load or run: a bad opcode, a jump out of the program, a read out of bounds. */
export function runFilter(program: Buffer, { arch, nr, args = [] }: Call): number {
  if (program.length % 8 !== 0 || program.length === 0 || program.length / 8 > 4_096) throw new Error('bad length');
  const data = Buffer.alloc(64);
  data.writeUInt32LE(nr >>> 0, 0);
  data.writeUInt32LE(arch >>> 0, 4);
  for (const [i, arg] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, arg), 16 + 8 * i);
  let a = 0;
  for (let pc = 0; ; pc++) {
    const at = pc * 8;
    if (at + 8 > program.length) throw new Error(`jump out of the program at ${pc}`);
    const code = program.readUInt16LE(at);
    const [jt, jf, k] = [program.readUInt8(at + 2), program.readUInt8(at + 3), program.readUInt32LE(at + 4)];
    switch (code) {
      case 0x20:
        if (k % 4 !== 0) throw new Error('unaligned read');
        a = data.readUInt32LE(k);
        break;
      case 0x54:
        a = (a & k) >>> 0;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += a === k ? jt : jf;
        break;
      case 0x35:
        pc += a >= k ? jt : jf;
        break;
      case 0x45:
        pc += (a & k) >>> 0 !== 0 ? jt : jf;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`opcode ${code}`);
    }
  }
}
