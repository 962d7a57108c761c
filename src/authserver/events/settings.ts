/** Settings of security events: `authserver.events`. Checked with the rest of the configuration. */
import { z } from 'zod';

export const EventSettings = z.strictObject({}).prefault({});
