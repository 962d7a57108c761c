import { expect, test } from 'vitest';
import { ROLES } from '../../src/directory/records.ts';
import { ITEM_KINDS, RISK_CLASSES } from '../../src/integrity/records.ts';
import { DATA_CLASSES, Server } from '../../src/inventory/records.ts';
import {
  POLICY_DATA_CLASSES,
  POLICY_ENVIRONMENTS,
  POLICY_KINDS,
  POLICY_RISKS,
  POLICY_ROLES,
} from '../../src/policy/schema.ts';

test('policies speak the words of the records', () => {
  expect(POLICY_ROLES).toEqual(ROLES);
  expect(POLICY_RISKS).toEqual(RISK_CLASSES);
  expect(POLICY_KINDS).toEqual(ITEM_KINDS);
  expect(POLICY_DATA_CLASSES).toEqual(DATA_CLASSES);
  expect(POLICY_ENVIRONMENTS).toEqual(Server.shape.environment.options);
});
