/** EX-01: the system-call filter, read number by number with an interpreter of our own, then felt inside the sandbox, with its twin. */
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { SandboxSpec } from '../../src/sandbox/backend.ts';
import type { BubblewrapOptions } from '../../src/sandbox/bubblewrap.ts';
import { ALLOW, ENOSYS, EPERM, KILL, seccompFilter } from '../../src/sandbox/seccomp.ts';
import { NEWEST } from '../../src/sandbox/seccomp-calls.ts';
import { runFilter } from './bpf.ts';
import { runInside } from './run-inside.ts';

const ARCH = { x86_64: 0xc000_003e, aarch64: 0xc000_00b7, i386: 0x4000_0003, arm: 0x4000_0028 };
const X86 = seccompFilter('x86_64');
const ARM = seccompFilter('aarch64');
const x86 = (nr: number, ...args: readonly number[]): number =>
  runFilter(X86, { arch: ARCH.x86_64, nr, args: args.map(BigInt) });
const arm = (nr: number, ...args: readonly number[]): number =>
  runFilter(ARM, { arch: ARCH.aarch64, nr, args: args.map(BigInt) });

/** Numbers on x86_64 and aarch64 of what no server may do, from the kernel's tables. */
const FORBIDDEN: Readonly<Record<string, readonly [x86: number | null, arm: number | null]>> = {
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  userfaultfd: [323, 282],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  move_mount: [429, 429],
  open_tree: [428, 428],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  statmount: [457, 457],
  listmount: [458, 458],
  open_tree_attr: [467, 467],
  unshare: [272, 97],
  setns: [308, 268],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  move_pages: [279, 239],
  migrate_pages: [256, 238],
  mbind: [237, 235],
  set_mempolicy: [238, 237],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  adjtimex: [159, 171],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  syslog: [103, 116],
  fanotify_init: [300, 262],
  lookup_dcookie: [212, 18],
  vhangup: [153, 58],
  memfd_secret: [447, 447],
  io_setup: [206, 0],
  process_madvise: [440, 440],
  iopl: [172, null],
  ioperm: [173, null],
  modify_ldt: [154, null],
  uselib: [134, null],
  ustat: [136, null],
  sysfs: [139, null],
};

/** What node, libc and the launch chain cannot do without. */
const NEEDED: Readonly<Record<string, readonly [x86: number | null, arm: number | null]>> = {
  read: [0, 63],
  write: [1, 64],
  close: [3, 57],
  mmap: [9, 222],
  mprotect: [10, 226],
  brk: [12, 214],
  rt_sigaction: [13, 134],
  openat: [257, 56],
  execve: [59, 221],
  exit_group: [231, 94],
  futex: [202, 98],
  epoll_pwait: [281, 22],
  eventfd2: [290, 19],
  pipe2: [293, 59],
  prlimit64: [302, 261],
  prctl: [157, 167],
  capset: [126, 91],
  setresuid: [117, 147],
  setresgid: [119, 149],
  setgroups: [116, 159],
  statx: [332, 291],
  getrandom: [318, 278],
  rseq: [334, 293],
  wait4: [61, 260],
  connect: [42, 203],
  fork: [57, null],
  poll: [7, null],
};

describe('the program', () => {
  test.each(Object.entries(FORBIDDEN))('EX-01: %s is refused', (_name, [onX86, onArm]) => {
    if (onX86 !== null) expect(x86(onX86)).toBe(EPERM);
    if (onArm !== null) expect(arm(onArm)).toBe(EPERM);
  });

  test.each(Object.entries(NEEDED))('%s is allowed', (_name, [onX86, onArm]) => {
    if (onX86 !== null) expect(x86(onX86)).toBe(ALLOW);
    if (onArm !== null) expect(arm(onArm)).toBe(ALLOW);
  });

  test('EX-01: of all numbers a kernel knows, exactly the listed ones pass; newer ones do not exist', () => {
    const passing = { x86: 0, arm: 0 };
    for (let nr = 0; nr < 0x800; nr++) {
      for (const [name, ask] of [
        ['x86', x86],
        ['arm', arm],
      ] as const) {
        const answer = ask(nr);
        if (nr > NEWEST) expect([nr, answer]).toEqual([nr, ENOSYS]);
        else expect([ALLOW, EPERM, ENOSYS]).toContain(answer);
        if (answer === ALLOW) passing[name]++;
      }
    }
    // With arguments of zero: three of the checked ones pass, too. Changing these figures means having looked at what was added.
    expect(passing).toEqual({ x86: 282, arm: 246 });
  });

  test('EX-01: clone3 does not exist, so that flags stand where they can be read', () => {
    expect(x86(435)).toBe(ENOSYS);
    expect(arm(435)).toBe(ENOSYS);
  });

  test.each([
    ['32-bit calls on x86_64', X86, ARCH.i386, 1],
    ['arm calls on x86_64', X86, ARCH.aarch64, 63],
    ['32-bit calls on aarch64', ARM, ARCH.arm, 3],
    ['x86_64 calls on aarch64', ARM, ARCH.x86_64, 0],
  ])('EX-01: %s end the process', (_what, program, arch, nr) => {
    expect(runFilter(program, { arch, nr })).toBe(KILL);
  });

  test('EX-01: calls of the x32 convention end the process, whatever their number', () => {
    for (const nr of [0, 1, 59, 165, 512, 547, NEWEST]) expect(x86(0x4000_0000 + nr)).toBe(KILL);
    expect(x86(0xffff_fff0)).toBe(KILL);
  });

  const SIGCHLD = 17;
  test.each([
    ['a fork', SIGCHLD, ALLOW],
    ['a thread', 0x003d_0f00, ALLOW],
    ['vfork', 0x4100 | SIGCHLD, ALLOW],
    ['NEWNS', 0x0002_0000, EPERM],
    ['NEWCGROUP', 0x0200_0000, EPERM],
    ['NEWUTS', 0x0400_0000, EPERM],
    ['NEWIPC', 0x0800_0000, EPERM],
    ['NEWUSER', 0x1000_0000, EPERM],
    ['NEWPID', 0x2000_0000, EPERM],
    ['NEWNET', 0x4000_0000, EPERM],
    ['NEWUSER among others', 0x1000_0000 | SIGCHLD | 0x100, EPERM],
  ])('EX-01: clone: %s', (_what, flags, answer) => {
    expect(x86(56, flags)).toBe(answer);
    expect(arm(220, flags)).toBe(answer);
    // The kernel looks at 32 bits of it; so must we.
    const high = [0xdead_0000_0000n + BigInt(flags)];
    expect(runFilter(X86, { arch: ARCH.x86_64, nr: 56, args: high })).toBe(answer);
  });

  test.each([
    ['a question about a terminal (TCGETS)', 0x5401, ALLOW],
    ['FIONBIO', 0x5421, ALLOW],
    ['TIOCSTI', 0x5412, EPERM],
    ['TIOCLINUX', 0x541c, EPERM],
    ['TIOCSETD', 0x5423, EPERM],
  ])('EX-01: ioctl: %s', (_what, request, answer) => {
    expect(x86(16, 0, request)).toBe(answer);
    expect(arm(29, 0, request)).toBe(answer);
    const high = [0n, 0x1_0000_0000n + BigInt(request)];
    expect(runFilter(X86, { arch: ARCH.x86_64, nr: 16, args: high })).toBe(answer);
  });

  const CLOEXEC = 0x8_0000;
  test.each([
    ['a Unix socket', 1, 1 | CLOEXEC, 0, ALLOW],
    ['TCP', 2, 1 | CLOEXEC, 6, ALLOW],
    ['TCP over IPv6', 10, 1, 0, ALLOW],
    ['UDP', 2, 2 | 0x800, 17, ALLOW],
    ['routes', 16, 3 | CLOEXEC, 0, ALLOW],
    ['a raw socket', 2, 3, 255, EPERM],
    ['a raw ICMP socket', 2, 3, 1, EPERM],
    ['a ping socket', 2, 2, 1, EPERM],
    ['a raw IPv6 socket', 10, 3, 58, EPERM],
    ['SCTP', 2, 1, 132, EPERM],
    ['MPTCP', 2, 1, 262, EPERM],
    ['SOCK_PACKET', 2, 10, 0, EPERM],
    ['packets', 17, 3, 0x300, EPERM],
    ['packets (dgram)', 17, 2, 0x300, EPERM],
    ['netfilter', 16, 3, 12, EPERM],
    ['audit', 16, 3, 9, EPERM],
    ['kobject events', 16, 2, 15, EPERM],
    ['AF_ALG', 38, 5, 0, EPERM],
    ['AF_VSOCK', 40, 1, 0, EPERM],
    ['Bluetooth', 31, 3, 0, EPERM],
    ['AF_KEY', 15, 3, 2, EPERM],
    ['AF_RDS', 21, 5, 0, EPERM],
    ['AF_TIPC', 30, 2, 0, EPERM],
    ['AF_XDP', 44, 3, 0, EPERM],
    ['a family that there is not', 0xffff, 1, 0, EPERM],
  ])('EX-01: socket: %s', (_what, domain, type, protocol, answer) => {
    expect(x86(41, domain, type, protocol)).toBe(answer);
    expect(arm(198, domain, type, protocol)).toBe(answer);
  });

  test('EX-01: socketpair is for Unix sockets, personality for none', () => {
    for (const [pair, personality, ask] of [
      [53, 135, x86],
      [199, 92, arm],
    ] as const) {
      expect([ask(pair, 1), ask(pair, 2), ask(pair, 30)]).toEqual([ALLOW, EPERM, EPERM]);
      // READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE, PER_LINUX32
      for (const value of [0x040_0000, 0x004_0000, 8]) expect(ask(personality, value)).toBe(EPERM);
      expect([ask(personality, 0), ask(personality, 0xffff_ffff)]).toEqual([ALLOW, ALLOW]);
    }
  });
});

describe('inside', () => {
  const WITHOUT: BubblewrapOptions = { host: { filter: null } };
  const run = (argv: readonly string[], options: BubblewrapOptions = {}, more: Partial<SandboxSpec> = {}) =>
    runInside(
      {
        name: 'seccomp',
        argv,
        env: { HOME: '/tmp' },
        mounts: [],
        network: 'none',
        limits: { memoryMb: 256, processes: 40, cpuSeconds: 20, openFiles: 200, cpuPercent: 100 },
        ...more,
      },
      options,
    );
  const ROOT = process.getuid?.() === 0;

  test('EX-01: the kernel says that the server is filtered, and its posture says what the kernel says', async () => {
    const status = ['/usr/bin/grep', '^Seccomp:', '/proc/self/status'];
    expect((await run(status)).out.trim()).toBe('Seccomp:\t2');
    expect((await run(status, WITHOUT)).out.trim()).toBe('Seccomp:\t0');
  });

  // Bubblewrap itself bars user namespaces where it made one; as root only the filter does.
  test.runIf(ROOT)('EX-01: a server cannot make a user namespace, not even where the gateway is root', async () => {
    const { out, err, exit } = await run(['/usr/bin/unshare', '-r', '/usr/bin/id', '-u']);
    expect({ out, exit }).toEqual({ out: '', exit: { code: 1, signal: null } });
    expect(err).toMatch(/Operation not permitted/);
  });
  test.runIf(ROOT)('EX-01: twin: without the filter it becomes root in one', async () => {
    expect((await run(['/usr/bin/unshare', '-r', '/usr/bin/id', '-u'], WITHOUT)).out.trim()).toBe('0');
  });

  test('EX-01: a server cannot turn address randomisation off; twin: without the filter it can', async () => {
    const argv = ['/usr/bin/setarch', '-R', '/usr/bin/echo', 'fixed'];
    expect((await run(argv)).out).toBe('');
    expect((await run(argv, WITHOUT)).out).toBe('fixed\n');
  });

  const python = existsSync('/usr/bin/python3');
  const FAMILIES = `import socket
for family, kind in ((38, 5), (40, 1), (16, 3), (2, 1)):
    try:
        socket.socket(family, kind, 16 if family == 16 and kind == 2 else 0).close(); print('open')
    except OSError as error:
        print(error.errno)`;
  test.runIf(python)('EX-01: python works; sockets of unusual families are refused', async () => {
    const { out } = await run(['/usr/bin/python3', '-c', FAMILIES]);
    expect(out.trim().split('\n')).toEqual(['1', '1', 'open', 'open']);
  });
  test.runIf(python)('EX-01: twin: without the filter the kernel opens what it has', async () => {
    const { out } = await run(['/usr/bin/python3', '-c', FAMILIES], WITHOUT);
    const [alg, vsock] = out.trim().split('\n');
    // Whether this kernel has them is its affair; what it says is not that it is forbidden.
    expect([alg, vsock]).not.toContain('1');
  });

  test('node works: threads, children, files, clocks, crypto, addresses', async () => {
    const script = `
      const { Worker } = require('node:worker_threads');
      const { execFileSync } = require('node:child_process');
      const fs = require('node:fs'), os = require('node:os'), crypto = require('node:crypto');
      fs.writeFileSync('/tmp/a', 'x'); fs.cpSync('/tmp/a', '/tmp/b'); fs.symlinkSync('/tmp/b', '/tmp/c'); fs.renameSync('/tmp/a', '/tmp/d');
      fs.watch('/tmp').close(); crypto.scryptSync('a', 'b', 32); os.networkInterfaces(); os.cpus(); os.setPriority(10);
      const server = require('node:net').createServer((s) => s.end('tcp')).listen(0, '127.0.0.1', () => {
        fetch; require('node:net').connect(server.address().port, '127.0.0.1').on('data', (d) => {
          const worker = new Worker("require('node:worker_threads').parentPort.postMessage('thread')", { eval: true });
          worker.on('message', (said) => { console.log(String(d), said, execFileSync('/usr/bin/echo', ['child']).toString().trim()); process.exit(); });
        });
      });`;
    const { out, err } = await run(['/remit/node', '-e', script]);
    expect({ out, err }).toEqual({ out: 'tcp thread child\n', err: '' });
  });

  test.runIf(existsSync('/usr/bin/git'))('git works', async () => {
    const script =
      'cd /tmp && git init -q r && cd r && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m one && git log --format=%s && git gc -q';
    const { out, err } = await run(['/usr/bin/sh', '-c', script], {}, { env: { HOME: '/tmp', PATH: '/usr/bin' } });
    expect({ out, err: err.replace(/^hint:.*\n/gm, '') }).toEqual({ out: 'one\n', err: '' });
  });

  test('a program that ends at once is heard, with what it wrote', async () => {
    for (let i = 0; i < 5; i++) expect((await run(['/usr/bin/echo', `${i}`])).out).toBe(`${i}\n`);
  });
});
