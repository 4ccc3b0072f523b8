import "reflect-metadata";
import { DataSource } from "typeorm";
import { databaseOptions } from "./database.config";
import { requireDatabaseVariables } from "./environment";

requireDatabaseVariables();

export default new DataSource(databaseOptions());
