/** What Entra and Okta send, in the shapes of their public documentation, in the order in which they send it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPlane, type Plane } from '../plane.ts';
import { connect, type Idp } from './support.ts';

interface Step {
  readonly title: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  readonly save?: 'user' | 'group';
  readonly expect?: object;
  readonly absent?: readonly string[];
  /** What calls are decided by afterwards. */
  readonly state?: 'active' | 'inactive' | 'gone';
  readonly member?: boolean;
}

const stepsOf = (name: string): readonly Step[] =>
  JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures', `${name}.json`), 'utf8')) as readonly Step[];

describe.each(['entra', 'okta'])('%s', (name) => {
  let plane: Plane;
  let idp: Idp;
  const ids: Record<string, string> = {};
  const filled = (text: string): string => text.replaceAll(/\{(user|group)\}/g, (_, what: string) => ids[what] ?? '');

  beforeAll(async () => {
    plane = await startPlane();
    idp = await connect(plane, name);
  });
  afterAll(() => plane.close());

  test.each(stepsOf(name))('$title', async (step) => {
    const body = step.body === undefined ? undefined : filled(JSON.stringify(step.body));
    const reply = await idp(step.method, filled(step.path), body);
    expect([reply.status, reply.text]).toEqual([step.status, reply.text]);
    if (step.status !== 204) expect(reply.headers.get('content-type')).toMatch(/^application\/scim\+json/);
    if (step.expect) expect(reply.body).toMatchObject(JSON.parse(filled(JSON.stringify(step.expect))) as object);
    if (step.save) ids[step.save] = reply.body['id'] as string;
    for (const path of step.absent ?? []) expect(reply.body).not.toHaveProperty(path);
    const person = plane.snapshot().people.byId(ids['user'] ?? '');
    if (step.state) expect(person?.state ?? 'gone').toBe(step.state);
    if (step.member !== undefined) expect(person?.groups?.includes(ids['group'] ?? '') ?? false).toBe(step.member);
  });
});
