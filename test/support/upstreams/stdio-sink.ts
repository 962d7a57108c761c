/**
 * The stdio oracle: a program that appends every line it receives to the file RECORD (when set), speaks ERA, and
 * misbehaves as BEHAVIOUR says, or as each call says in `arguments.mood` if that is `told`. Uses nothing but node, so that it runs in the barest sandbox.
 */
import { appendFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';

type Json = Record<string, unknown>;
const { RECORD, ERA = 'legacy', BEHAVIOUR = '' } = process.env;
const META = 'io.modelcontextprotocol/';

const write = (message: Json): void => void process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const complete = (result: Json): Json => (ERA === 'modern' ? { resultType: 'complete', ...result } : result);

const held: Array<() => void> = [];

function call(id: unknown, params: Json): void {
  const args = params['arguments'] as Json;
  const answer = (text: string): void => write({ id, result: complete({ content: [{ type: 'text', text }] }) });
  const behaviour = BEHAVIOUR === 'told' ? args['mood'] : BEHAVIOUR;
  if (behaviour === 'held') return void held.push(() => answer('held'));
  // Whoever was held is answered behind whatever this call does.
  const waiting = held.splice(0);
  setTimeout(() => waiting.forEach((one) => one()), 20);
  switch (behaviour) {
    case 'hang':
      return;
    case 'crash':
      process.exit(7);
      return;
    case 'moody': {
      // Exits before, after or instead of its answer, as told.
      const { mood } = args as { mood: string };
      if (mood === 'silent-exit') process.exit(3);
      answer('moody');
      if (mood === 'late-exit') process.exit(4);
      if (mood === 'half') process.stdout.write('{"jsonrpc":"2.0","id":');
      if (mood === 'half') process.exit(5);
      return;
    }
    case 'banner':
      process.stdout.write('Listening for requests!\n');
      return answer('after a banner');
    case 'chatter':
      for (let i = 0; i < 11; i++) process.stdout.write(`log line ${i}\n`);
      return answer('after chatter');
    case 'endless-line':
      process.stdout.write('x'.repeat(3_000_000));
      return;
    case 'duplicate-key':
      process.stdout.write(
        `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"content":[]},"result":{"content":[{"type":"text","text":"b"}]}}\n`,
      );
      return;
    case 'twice':
      answer('once');
      return answer('twice');
    case 'someone-else':
      write({ id: 4_000_000, result: complete({ content: [] }) });
      return answer('mine');
    case 'ask':
      write({ id: 'q1', method: 'sampling/createMessage', params: {} });
      write({ id: 'q2', method: 'ping' });
      return answer('asked');
    case 'not-utf8':
      process.stdout.write(Buffer.from([0x22, 0xff, 0x22, 0x0a]));
      return answer('after bytes that are no text');
    case 'crlf':
      process.stdout.write(
        `${JSON.stringify({ jsonrpc: '2.0', id, result: complete({ content: [{ type: 'text', text: 'crlf' }] }) })}\r\n`,
      );
      return;
    case 'drip': {
      const bytes = Buffer.from(
        `${JSON.stringify({ jsonrpc: '2.0', id, result: complete({ content: [{ type: 'text', text: 'däumling' }] }) })}\n`,
      );
      for (const byte of bytes) process.stdout.write(Buffer.of(byte));
      return;
    }
    case 'stderr':
      process.stderr.write(`token is ${process.env['TOKEN'] ?? ''} \u001b[31mred\n${'y'.repeat(10_000_000)}\n`);
      return answer('said');
    case 'close-output':
      process.stdout.end();
      setInterval(() => {}, 1_000);
      return;
    case 'wrong-outcome':
      write({ id, result: { resultType: 'task', content: [] } });
      return;
    case 'children':
      for (let i = 0; i < 3; i++)
        spawn('/usr/bin/setsid', ['/usr/bin/sleep', `1000.${process.argv[2] ?? '0'}`], {
          stdio: 'ignore',
          detached: true,
        }).unref();
      return answer('spawned');
    case 'stubborn':
      process.on('SIGTERM', () => {});
      setInterval(() => {}, 1_000);
      return answer('staying');
    case 'env':
      return answer(JSON.stringify(process.env));
    case 'token-digest':
      return answer(
        createHash('sha256')
          .update(process.env['TOKEN'] ?? '')
          .digest('hex'),
      );
    case 'argv':
      return answer(JSON.stringify(process.argv.slice(2)));
    default:
      return answer(JSON.stringify(args));
  }
}

function take(line: string): void {
  if (RECORD !== undefined) appendFileSync(RECORD, `${line}\n`);
  const { id, method, params = {} } = JSON.parse(line) as { id?: unknown; method?: string; params?: Json };
  if (id === undefined || method === undefined) return;
  if (BEHAVIOUR === 'dies-when-asked' && method === 'server/discover') process.exit(3);
  if (BEHAVIOUR === 'mute' && method === 'server/discover') return;
  const modern = ERA === 'modern' && (params['_meta'] as Json | undefined)?.[`${META}protocolVersion`] === '2026-07-28';
  if (ERA === 'modern' && !modern)
    write({ id, error: { code: -32022, message: 'unsupported', data: { supported: ['2026-07-28'], requested: '' } } });
  else if (method === 'server/discover' && modern) {
    write({
      id,
      result: complete({
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: {} },
        _meta: { [`${META}serverInfo`]: { name: 'stdio-sink', version: '1' } },
      }),
    });
  } else if (method === 'initialize') {
    write({
      id,
      result: {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'stdio-sink', version: '1' },
      },
    });
  } else if (method === 'tools/list')
    write({ id, result: complete({ tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }) });
  else if (method === 'tools/call') call(id, params);
  else write({ id, error: { code: -32601, message: 'Method not found' } });
}

let text = '';
process.stdin.setEncoding('utf8').on('data', (chunk: string) => {
  text += chunk;
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
    take(text.slice(0, end));
    text = text.slice(end + 1);
  }
});
process.stdin.on('end', () => {
  if (BEHAVIOUR !== 'stubborn') process.exit(0);
});
if (BEHAVIOUR === 'fails-to-start') {
  process.stderr.write('cannot find my licence\n');
  process.exit(2);
}
