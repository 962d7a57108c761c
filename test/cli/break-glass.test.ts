/** `remit break-glass`: two people, an end, and the look back, as they type it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { READ_FILE, SERVER, seenTool, startPlane, type Name, type Plane } from '../admin/plane.ts';
import { ToolRecord } from '../../src/integrity/records.ts';
import { remit } from './remit.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
  const tool = seenTool('docs', { ...READ_FILE, name: 'wipe' });
  const record = ToolRecord.parse(tool.body);
  const judged = { risk: 'destructive', scope: 'docs:wipe', justification: 'x', by: 'sven', at: 1 };
  const approved = { ...judged, digest: tool.digest, definition: record.observed!.definition };
  await plane.seed([
    plane.put('server', 'docs', { ...SERVER, owner: 'nobody', state: 'enabled' }),
    plane.put('tool', tool.id, { ...record, approved }),
  ]);
});
afterAll(() => plane.close());
const run = (name: Name, ...args: string[]) =>
  remit(['break-glass', ...args], { env: { REMIT_ADMIN_URL: plane.url, REMIT_TOKEN: plane.tokenOf(name) } });
const said = async (name: Name, ...args: string[]): Promise<string> => {
  const ran = await run(name, ...args);
  expect([args.join(' '), ran.code, ran.err]).toEqual([args.join(' '), 0, '']);
  return ran.out;
};

test(
  'AP-03: one opens, another confirms, anybody of them ends it, a third looks back',
  { timeout: 150_000 },
  async () => {
    const why = ['--for', '30m', '--justification', 'incident 7'];
    const opened = await said('omar', 'open', 'docs/wipe', '--person', 'dana', ...why);
    const id = /grant_[0-9a-z]+/.exec(opened)?.[0] ?? '';
    expect(opened).toContain(`waits for a second person: remit break-glass confirm ${id}`);
    const alone = await run('omar', 'confirm', id);
    expect([alone.code, alone.err]).toEqual([1, expect.stringContaining('Nobody decides on what they asked for.')]);
    // Who answers for the server confirms, without any role.
    expect(await said('nobody', 'confirm', id, '--note', 'go')).toMatch(
      /docs: wipe is open without approvals until 20/,
    );
    expect(await said('aiko', 'list')).toMatch(new RegExp(`${id} +active +dana +docs: wipe .*omar, nobody`));
    expect(await said('ada', 'end', id, '--reason', 'repaired')).toContain(`${id} is ended`);
    expect(await said('aiko', 'list')).toContain('MISSING');
    expect(await said('sven', 'review', id)).toContain('No calls were made under it.');
    const taken = await run('omar', 'review', id, '--note', 'fine');
    expect(taken.code).toBe(1);
    expect(await said('sven', 'review', id, '--note', 'nothing was done')).toContain(`${id} is closed.`);
    expect(await said('aiko', 'list')).toContain('by sven');
    const { body } = (await plane.state.load()).records.find((record) => record.id === id)!;
    expect(body['postMortem']).toMatchObject({ by: 'sven', note: 'nothing was done' });
  },
);

test('what cannot be an emergency is refused with the remedy', { timeout: 120_000 }, async () => {
  for (const [args, code, message] of [
    [['open', 'docs/wipe', '--for', '5h', '--justification', 'x'], 2, 'From 1m to 4h.'],
    [['open', 'docs/wipe', 'mail/send', '--for', '1h', '--justification', 'x'], 2, 'An emergency is about one server.'],
    [['open', 'docs/wipe', '--risks', 'write', '--for', '1h', '--justification', 'x'], 2, 'Risk classes are of one'],
    [['open', 'docs/none', '--for', '1h', '--justification', 'x'], 1, 'has no item'],
  ] as const) {
    const ran = await run('omar', ...args);
    expect([ran.code, ran.err]).toEqual([code, expect.stringContaining(message)]);
  }
});
