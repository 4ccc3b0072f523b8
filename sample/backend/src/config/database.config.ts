import type { PostgresConnectionOptions } from "typeorm/driver/postgres/PostgresConnectionOptions";
import { migrations } from "../migrations";
import { addExtraColumns } from "../migrations/extra-migration";
import { VehicleEvent } from "../vehicles/vehicle-event.entity";
import { Vehicle } from "../vehicles/vehicle.entity";
import { environment } from "./environment";

export function databaseOptions(): PostgresConnectionOptions {
  addExtraColumns(Vehicle, environment.extraMigrations);
  return {
    type: "postgres",
    ...environment.database,
    entities: [Vehicle, VehicleEvent],
    migrations: migrations(),
    synchronize: false,
    applicationName: `flotteq-${environment.version}`,
    extra: { connectionTimeoutMillis: 3000 },
  };
}
