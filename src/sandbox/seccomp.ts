/**
 * The system-call filter of a server: a classic BPF program as the kernel takes it (struct sock_filter), a pure function of the
 * architecture. An allow list; what is not on it is refused with EPERM, calls newer than our table with ENOSYS, so that libc falls back.
 * A foreign architecture (32-bit calls, x32) ends the process. Only values in registers can be judged: flags are compared in the 32 bits
 * that the kernel looks at, so that a number with its upper half set is no way around.
 * Not done here: telling whether it is in force (`posture.ts` reads that from the kernel).
 */
import { CHECKED, CLONE3, NEWEST, type Architecture, allowedCalls } from './seccomp-calls.ts';

const AUDIT_ARCH: Readonly<Record<Architecture, number>> = { x86_64: 0xc000003e, aarch64: 0xc00000b7 };
/** Calls of the x32 convention have this bit in their number. */
const X32 = 0x4000_0000;

export const ALLOW = 0x7fff_0000;
export const KILL = 0x8000_0000;
export const EPERM = 0x0005_0001;
export const ENOSYS = 0x0005_0026;

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const CLONE_NEW = 0x7e02_0000;
/** Typing into the terminal of somebody else (TIOCSTI, TIOCLINUX), line disciplines (TIOCSETD). */
const IOCTLS = [0x5412, 0x541c, 0x5423];
const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16 };
const SOCK = { stream: 1, dgram: 2, raw: 3 };
const SOCK_TYPE = 0xf;
const NETLINK_ROUTE = 0;
/** Left to the system, TCP, UDP. */
const PROTOCOLS = [0, 6, 17];
/** The ordinary one, and the question which one it is. */
const PERSONALITIES = [0, 0xffff_ffff];

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}
const op = (code: number, k: number, jt = 0, jf = 0): Instruction => ({ code, jt, jf, k });
const load = (offset: number): Instruction => op(0x20, offset);
const ret = (k: number): Instruction => op(0x06, k);
const and = (k: number): Instruction => op(0x54, k);
const jump = (k: number): Instruction => op(0x05, k);
const ifEqual = (k: number, jt: number, jf: number): Instruction => op(0x15, k, jt, jf);
const ifAtLeast = (k: number, jt: number, jf: number): Instruction => op(0x35, k, jt, jf);
const ifAnyBit = (k: number, jt: number, jf: number): Instruction => op(0x45, k, jt, jf);

const NUMBER = 0;
const ARCH = 4;
/** The lower 32 bits of an argument; both architectures are little-endian. */
const argument = (i: number): Instruction => load(16 + 8 * i);

type Program = readonly Instruction[];

/** What is loaded is one of these: `then`; else go on behind it. */
const oneOf = (values: readonly number[], then: Program): Program => [
  ...values.map((value, i) => ifEqual(value, values.length - i, 0)),
  jump(then.length),
  ...then,
];

const SOCKET_TYPES: Program = [
  argument(1),
  and(SOCK_TYPE),
  ...oneOf([SOCK.stream, SOCK.dgram], [argument(2), ...oneOf(PROTOCOLS, [ret(ALLOW)])]),
  ret(EPERM),
];

const CHECKS: Readonly<Record<keyof typeof CHECKED, Program>> = {
  clone: [argument(0), ifAnyBit(CLONE_NEW, 0, 1), ret(EPERM), ret(ALLOW)],
  ioctl: [argument(1), ...oneOf(IOCTLS, [ret(EPERM)]), ret(ALLOW)],
  personality: [argument(0), ...oneOf(PERSONALITIES, [ret(ALLOW)]), ret(EPERM)],
  socket: [
    argument(0),
    ...oneOf([AF.unix], [ret(ALLOW)]),
    ...oneOf([AF.inet, AF.inet6], SOCKET_TYPES),
    // Programs ask the kernel for their interfaces and routes by it; a raw socket of this family is an ordinary one.
    ...oneOf(
      [AF.netlink],
      [
        argument(1),
        and(SOCK_TYPE),
        ...oneOf([SOCK.dgram, SOCK.raw], [argument(2), ...oneOf([NETLINK_ROUTE], [ret(ALLOW)])]),
        ret(EPERM),
      ],
    ),
    ret(EPERM),
  ],
  socketpair: [argument(0), ...oneOf([AF.unix], [ret(ALLOW)]), ret(EPERM)],
};

/** What happens from this number on, up to the next row. */
interface Row {
  readonly from: number;
  readonly verdict: Program;
}

/** Memory that is in no process's account: only a cgroup sees it, and whoever counts by process would never end who takes it. */
const OUTSIDE_OF_PROCESSES: ReadonlySet<string> = new Set(['memfd_create', 'shmget', 'msgget']);

function rows(architecture: Architecture, memoryCounted: boolean): readonly Row[] {
  const verdicts = new Map<number, Program>();
  for (const [name, number] of allowedCalls(architecture))
    if (memoryCounted || !OUTSIDE_OF_PROCESSES.has(name)) verdicts.set(number, [ret(ALLOW)]);
  for (const [name, numbers] of Object.entries(CHECKED))
    verdicts.set(numbers[architecture], CHECKS[name as keyof typeof CHECKED]);
  verdicts.set(CLONE3, [ret(ENOSYS)]);
  const found: Row[] = [];
  for (let number = 0; number <= NEWEST + 1; number++) {
    const verdict = verdicts.get(number) ?? [ret(number > NEWEST ? ENOSYS : EPERM)];
    const before = found.at(-1)?.verdict;
    // Neighbours with one plain verdict are one row.
    if (before?.length !== 1 || verdict.length !== 1 || before[0]?.k !== verdict[0]?.k)
      found.push({ from: number, verdict });
  }
  return found;
}

/** Binary search: what is asked costs a handful of comparisons, wherever its number stands. */
function search(table: readonly Row[]): Program {
  const [only, ...more] = table;
  if (only === undefined) throw new Error('an empty filter');
  if (more.length === 0) return only.verdict;
  const middle = table.length >> 1;
  const below = search(table.slice(0, middle));
  // Conditional jumps reach 255 instructions, plain ones any.
  return [ifAtLeast(table[middle]?.from ?? 0, 0, 1), jump(below.length), ...below, ...search(table.slice(middle))];
}

/**
 * Which filter fits this process; null: none is known for its processor, and servers run unfiltered (the posture says so).
 * @param memoryCounted whether a cgroup counts the memory of the server
 */
export function filterHere(memoryCounted: boolean): Buffer | null {
  const architecture = ({ x64: 'x86_64', arm64: 'aarch64' } as const)[process.arch as 'x64' | 'arm64'];
  return architecture === undefined ? null : seccompFilter(architecture, memoryCounted);
}

/** Little-endian `struct sock_filter[]`. */
export function seccompFilter(architecture: Architecture, memoryCounted = true): Buffer {
  const program: Program = [
    load(ARCH),
    ifEqual(AUDIT_ARCH[architecture], 1, 0),
    ret(KILL),
    load(NUMBER),
    ...(architecture === 'x86_64' ? [ifAtLeast(X32, 0, 1), ret(KILL)] : []),
    ...search(rows(architecture, memoryCounted)),
  ];
  const bytes = Buffer.alloc(program.length * 8);
  for (const [i, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, i * 8);
    bytes.writeUInt8(jt, i * 8 + 2);
    bytes.writeUInt8(jf, i * 8 + 3);
    bytes.writeUInt32LE(k, i * 8 + 4);
  }
  return bytes;
}
