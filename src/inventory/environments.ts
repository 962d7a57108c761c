/**
 * Production and everything else never mix (NH-07). The four environments are two classes: `production`, and the three others together,
 * which may reach each other. One rule for agents, credentials, servers and what grants name, so that no two places draw the line apart.
 */
import { ENVIRONMENTS, type Environment } from './records.ts';

const ELSEWHERE = ENVIRONMENTS.filter((environment) => environment !== 'production');
const PRODUCTION: readonly Environment[] = ['production'];

/** The environments that something of `environment` may reach. */
export const reachableFrom = (environment: Environment): readonly Environment[] =>
  environment === 'production' ? PRODUCTION : ELSEWHERE;

export const mayMeet = (one: Environment, other: Environment): boolean => reachableFrom(one).includes(other);
