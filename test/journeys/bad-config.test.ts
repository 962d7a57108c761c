/** A configuration with mistakes, as a person meets it: everything at once, each with file, line, key, reason and remedy; exit code 2; nothing started. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { endAll, runRemit, temporaryFolder } from '../support/processes.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

afterEach(endAll);

const WRONG = `dataDir: ./gateway
pubic:
  port: 1
public:
  port: eighty
admin:
  host: 0.0.0.0
  port: 99999
store:
  kind: postgres
issuers:
  - issuer: http://login.example.com
    algorithms: [HS256]
log:
  level: loud
`;
/** key, line, part of the reason, part of the remedy. */
const EXPECTED = [
  ['pubic', 2, 'not known', 'Did you mean `public`?'],
  ['public.port', 5, 'expected number', '8787'],
  ['admin.publicUrl', null, 'it is missing, and admin.host is not a loopback address', 'https'],
  ['admin.port', 8, '65535', '8788'],
  ['store.url', null, 'needed when store.kind is postgres', 'env:REMIT_DATABASE_URL'],
  ['issuers[0].algorithms[0]', 13, 'expected one of', 'EdDSA'],
  ['log.level', 15, 'expected one of', 'info'],
] as const;

test.each(['up', 'gateway', 'authserver'])(
  '`remit %s`: every problem at once, with its place, reason and remedy',
  async (command) => {
    const folder = temporaryFolder();
    const file = join(folder, 'remit.yaml');
    writeFileSync(file, WRONG);
    const args = command === 'up' ? ['up', '--dir', folder] : [command, '--config', file];
    const ran = await runRemit(args);
    expect([ran.code, ran.out]).toEqual([2, '']);
    const [heading, ...lines] = ran.err.trimEnd().split('\n');
    expect(heading).toBe(`remit: The configuration has ${lines.length} problems:`);
    for (const [key, line, reason, remedy] of EXPECTED) {
      const told = lines.find((text) => text.includes(` ${key}: `)) ?? `nothing about ${key} in\n${ran.err}`;
      expect(told.startsWith(`  ${file}${line === null ? '' : `:${line}:`}`), told).toBe(true);
      expect(told).toContain(reason);
      expect(told).toContain(remedy);
    }
    // Nothing was started or made.
    expect(readdirSync(folder)).toEqual(['remit.yaml']);

    const json = await runRemit([...args, '--json']);
    expect([json.code, json.out]).toEqual([2, '']);
    const { error } = JSON.parse(json.err) as { error: { code: string; problems: Array<Record<string, unknown>> } };
    expect([error.code, error.problems.length]).toEqual(['usage', lines.length]);
    for (const problem of error.problems)
      expect(Object.keys(problem).sort()).toEqual(['column', 'file', 'key', 'line', 'reason', 'remedy']);
  },
);

test('a file that is not there, is not YAML, or names a secret that is not set', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'c.yaml');
  const run = () => runRemit(['gateway', '--config', file]);
  expect(await run()).toMatchObject({
    code: 2,
    err: expect.stringMatching(/c\.yaml: the file does not exist\. .*remit init/),
  });
  writeFileSync(file, 'public: {port: 1\nadmin: [');
  expect(await run()).toMatchObject({ code: 2, err: expect.stringMatching(/c\.yaml:\d+:\d+: /) });
  writeFileSync(file, 'public: {port: 1}\npublic: {port: 2}\n');
  expect(await run()).toMatchObject({ code: 2, err: expect.stringContaining('c.yaml:2:1: public: ') });
  writeFileSync(file, 'store:\n  kind: postgres\n  url: {secret: env:REMIT_NOWHERE}\n');
  expect(await run()).toMatchObject({
    code: 2,
    err: expect.stringMatching(/store\.url\.secret: the environment variable REMIT_NOWHERE is not set/),
  });
  expect(existsSync(join(folder, 'remit-data'))).toBe(false);
});

test('the section of the authorization server is checked by that process, all of it at once', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'remit.yaml');
  const authserver = {
    issuer: 'http://login.example.com',
    listen: { host: '127.0.0.1', port: -1 },
    dataDri: './a',
    evaluationUsers: 'yes',
  };
  writeFileSync(file, JSON.stringify({ public: { port: 0 }, admin: { port: 0 }, authserver }));
  const ran = await runRemit(['authserver', '--config', file]);
  expect(ran.code).toBe(2);
  for (const key of ['issuer', 'listen.port', 'dataDri', 'evaluationUsers']) expect(ran.err).toContain(key);
  writeFileSync(file, '{}');
  const none = await runRemit(['authserver', '--config', file]);
  expect([none.code, none.err]).toEqual([
    2,
    expect.stringContaining('has no "authserver" section; add one, or run `remit up`'),
  ]);
});
