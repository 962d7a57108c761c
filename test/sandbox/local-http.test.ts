/** The published sample server over HTTP: isolated, on loopback only, although its default is every interface. */
import { spawn } from 'node:child_process';
import { type AddressInfo, connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageProgram } from '../../src/sandbox/artifact.ts';
import { SandboxFault } from '../../src/sandbox/backend.ts';
import { startLocalHttp } from '../../src/sandbox/local-http.ts';
import { listItems } from '../../src/upstream/lists.ts';
import { textOf } from '../contracts/connection.ts';
import { REPOSITORY, backend, httpServer, testPool, until } from '../support/upstreams/open.ts';

const EVERYTHING = '@modelcontextprotocol/server-everything';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const accepts = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1_000 });
    const end = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', end(true)).once('error', end(false)).once('timeout', end(false));
  });

/** An address of this machine that is not 127.0.0.1. On a machine with nothing but loopback: another loopback address. */
const otherAddress = (): string =>
  Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal)?.address ?? '127.0.0.2';

describe('the everything server', () => {
  test('serves its tools on 127.0.0.1, and is not reachable by another address of this machine', async () => {
    const port = await freePort();
    const process = await startLocalHttp(backend, {
      name: 'everything',
      command: [EVERYTHING, 'streamableHttp'],
      port,
    });
    const pool = testPool();
    try {
      const connection = await pool.connection('everything', httpServer(`http://127.0.0.1:${port}/mcp`));
      expect(connection.identity).toMatchObject({ era: 'legacy', protocolVersion: '2025-11-25' });
      expect(
        (await listItems(connection, 'tool', AbortSignal.timeout(30_000))).items.map(({ name }) => name),
      ).toContain('echo');
      expect(await textOf(connection, 'echo', { message: 'hello' })).toBe('Echo: hello');
      expect(await accepts(otherAddress(), port)).toBe(false);
    } finally {
      await pool.closeAll();
      await process.stop();
    }
    expect(await accepts('127.0.0.1', port)).toBe(false);
  });

  test('without the preload it answers at other addresses, too (vulnerable twin, in a network of its own)', async () => {
    // The twin may not open a port to anybody: it runs without the host's network, and the question is asked inside.
    const { file } = packageProgram(EVERYTHING, join(REPOSITORY, 'src'));
    const inside = file.replace(`${REPOSITORY}/node_modules`, '/remit/node_modules');
    const process = await backend.start({
      name: 'twin',
      argv: ['/remit/node', '-e', TWIN, inside],
      env: { PORT: '39999' },
      mounts: [{ from: join(REPOSITORY, 'node_modules'), to: '/remit/node_modules', mode: 'read' }],
      network: 'none',
      limits: { memoryMb: 512, processes: 64, cpuSeconds: 30, openFiles: 256, cpuPercent: 100 },
    });
    let out = '';
    process.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
    await until('it answered', () => /REACHED|REFUSED/.test(out), 60_000);
    await process.stop();
    expect(out).toContain('REACHED');
  });

  test('one that does not come up is a fault with its last words, and nothing is left', async () => {
    const error: unknown = await startLocalHttp(backend, {
      name: 'x',
      command: ['@modelcontextprotocol/server-filesystem', '/nowhere'],
      port: await freePort(),
      readyTimeoutMs: 5_000,
    }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SandboxFault);
    expect((error as SandboxFault).message).toMatch(/^x does not listen on 127\.0\.0\.1:\d+: /);
  });

  test('the preload refuses what is no TCP port, and keeps callbacks and options', async () => {
    const script = `const {createServer}=require('node:net');let e='';try{createServer().listen('/tmp/socket')}catch(x){e=x.message}
      const a=createServer().listen(0,'0.0.0.0',()=>{const b=createServer().listen({port:'0',host:'::'},()=>{console.log(JSON.stringify([e,a.address().address,b.address().address]));process.exit()})})`;
    const child = spawn(process.execPath, ['--import', join(REPOSITORY, 'src/sandbox/loopback-only.ts'), '-e', script]);
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
    await new Promise((resolve) => child.once('close', resolve));
    expect(JSON.parse(out)).toEqual(['only TCP ports can be listened on here', '127.0.0.1', '127.0.0.1']);
  });
});

/** Starts the program beside itself and asks at an address that is not 127.0.0.1. */
const TWIN = `
const { spawn } = require('node:child_process'); const { connect } = require('node:net');
spawn('/remit/node', [process.argv[1], 'streamableHttp'], { stdio: 'ignore', env: { PORT: '39999' } });
let tries = 0;
(function ask() { const s = connect(39999, '127.0.0.2'); s.once('connect', () => console.log('REACHED')); s.once('error', () => ++tries > 100 ? console.log('REFUSED') : setTimeout(ask, 100)); })();
`;
