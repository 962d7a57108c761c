/** `remit policy test` over files: the sample of the guide holds, and what does not hold says why and fails. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { remit } from './remit.ts';

const GUIDES = join(import.meta.dirname, '../../docs/guides');
const dir = mkdtempSync(join(tmpdir(), 'remit-cases-'));
for (const name of ['policy-cases.yaml', 'policy-cases-scratch.cedar', 'policy-cases-grant.yaml'])
  cpSync(join(GUIDES, name), join(dir, name));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const sample = readFileSync(join(GUIDES, 'policy-cases.yaml'), 'utf8');
const file = (text: string): string => {
  writeFileSync(join(dir, 'changed.yaml'), text);
  return join(dir, 'changed.yaml');
};

test('the sample of the guide holds', { timeout: 120_000 }, async () => {
  const ran = await remit(['policy', 'test', join(GUIDES, 'policy-cases.yaml'), '--json']);
  expect([ran.code, ran.err]).toEqual([0, '']);
  expect(ran.json()).toMatchObject({ passed: 7, failed: 0 });
});

test(
  'a case that does not hold fails the run and shows what decided and what would help',
  { timeout: 120_000 },
  async () => {
    const wrong = sample
      .replace('expect: hold', 'expect: allow')
      .replace('by: [team.scratch]', 'by: [baseline.developer]');
    const ran = await remit(['policy', 'test', file(wrong)]);
    expect(ran.code).toBe(1);
    expect(ran.out).toContain('said hold, not allow (approval_missing)');
    expect(ran.out).toContain('would be allow with approval');
    expect(ran.out).toContain('decided by team.scratch, not by baseline.developer (forbidden)');
    expect(ran.out).toContain('forbid team.scratch: Operators may only delete below /data/scratch.');
    expect(ran.out).toContain('5 of 7 cases hold.');
  },
);

test.each([
  ['somebody who is not there', sample.replace('who: mia', 'who: mila'), 1, 'there is nobody called "mila"'],
  ['a tool that is not there', sample.replace('tool: bank/send', 'tool: bank/sent'), 1, 'there is no tool "bank/sent"'],
  ['a member that no case has', sample.replace('expect: hold', 'expects: hold'), 2, 'cases.3'],
  ['a verdict that is none', sample.replace('expect: hold', 'expect: maybe'), 2, 'cases.3.expect'],
  [
    'a policy that does not compile',
    sample.replace('policy-cases-scratch.cedar', 'policy-cases-grant.yaml'),
    2,
    'team.scratch',
  ],
  [
    'a file that is not there',
    sample.replace('policy-cases-scratch.cedar', 'nothing.cedar'),
    2,
    'nothing.cedar cannot be read',
  ],
])('%s is told by name', { timeout: 120_000 }, async (_, text, code, says) => {
  const ran = await remit(['policy', 'test', file(text)]);
  expect([ran.code, (ran.out + ran.err).includes(says), ran.out + ran.err]).toEqual([code, true, expect.any(String)]);
  expect(ran.err).not.toContain(' at ');
});
