import { expect, test } from 'vitest';
import { places } from '../../src/gateway/places.ts';

test('RL-01: one person has so many places, the node so many, and what is left is free again', () => {
  const desk = places(3, 2);
  expect([desk.enter('a'), desk.enter('a'), desk.enter('a')]).toEqual(['taken', 'taken', 'person_full']);
  expect([desk.enter('b'), desk.enter('c')]).toEqual(['taken', 'node_full']);
  desk.leave('a');
  expect([desk.enter('c'), desk.enter('a')]).toEqual(['taken', 'node_full']);
  for (const person of ['a', 'b', 'c']) desk.leave(person);
  expect(desk.size).toBe(0);
});
